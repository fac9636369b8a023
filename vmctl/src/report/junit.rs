//! Report for `JUnit`: one suite per image, as continuous integration reads it.

use std::collections::BTreeMap;

use anyhow::Context;
use e2e::{CaseResult, Outcome};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::Head;

/// The whole report as XML.
pub(crate) fn text(head: &Head, results: &[CaseResult]) -> anyhow::Result<String> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for result in results {
        let suite = suites.entry(&result.guest).or_insert_with(|| new_suite(head, &result.guest));
        suite.add_test_case(case(result));
    }
    let mut report = Report::new("vmctl");
    report.add_test_suites(suites.into_values());
    report.to_string().context("render the JUnit report")
}

fn new_suite(head: &Head, guest: &str) -> TestSuite {
    let mut suite = TestSuite::new(guest);
    suite.add_property(Property::new("seed", head.seed.to_string()));
    suite.add_property(Property::new("accel", head.accel.as_str()));
    suite.add_property(Property::new("qemu", head.qemu.as_str()));
    suite
}

fn case(result: &CaseResult) -> TestCase {
    let mut case = TestCase::new(result.name.as_str(), status(&result.outcome));
    let area = result.name.split("::").next().unwrap_or_default();
    case.set_classname(area).set_time(result.wall);
    for (name, value) in &result.figures {
        case.add_property(Property::new(*name, value.to_string()));
    }
    if !result.remark.is_empty() {
        case.add_property(Property::new("remark", result.remark.as_str()));
    }
    if !result.console.is_empty() {
        case.set_system_out(result.console.join("\n"));
    }
    case
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    let mut status = match outcome {
        Outcome::Pass => return TestCaseStatus::success(),
        Outcome::Skip(_) => TestCaseStatus::skipped(),
        Outcome::Fail(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::LostVm(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_message(outcome.reason()).set_type(outcome.name());
    status
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, results};
    use super::*;

    #[test]
    fn every_outcome_has_its_element_and_reasons_are_escaped() {
        let mut results = results();
        results[0].remark = "only abrupt".to_owned();
        let xml = text(&head(), &results).unwrap();
        assert!(xml.contains(r#"tests="4""#), "{xml}");
        assert!(xml.contains(r#"failures="1""#) && xml.contains(r#"errors="1""#), "{xml}");
        assert!(xml.contains(r#"<failure message="slot 3 &lt;differs&gt;" type="fail""#), "{xml}");
        assert!(xml.contains(r#"<error message="QEMU ended" type="lost_vm""#), "{xml}");
        assert!(xml.contains(r#"<skipped message="no compiler""#), "{xml}");
        assert!(xml.contains(r#"<property name="seed" value="7"/>"#), "{xml}");
        let remarks = xml.matches(r#"<property name="remark" value="only abrupt"/>"#).count();
        assert_eq!(remarks, 1, "{xml}");
    }
}
