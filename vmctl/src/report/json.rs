//! JSON report: schema 1, one object per run.

use e2e::outcome::Figures;
use e2e::{CaseResult, Way};
use serde::Serialize;

use super::Head;

/// The version of the layout; a change that breaks readers raises it.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Run<'a> {
    schema: u32,
    seed: u64,
    accel: &'a str,
    qemu: &'a str,
    cases: Vec<Case<'a>>,
}

#[derive(Serialize)]
struct Case<'a> {
    name: &'a str,
    guest: &'a str,
    outcome: &'static str,
    reason: &'a str,
    remark: &'a str,
    seconds: f64,
    cpu_seconds: f64,
    figures: &'a Figures,
    ways: &'a [Way],
}

/// The whole report, with a line break at its end.
pub(crate) fn text(head: &Head, results: &[CaseResult]) -> String {
    let case = |result| {
        let result: &'_ CaseResult = result;
        let CaseResult { name, guest, outcome, remark, wall, cpu, figures, ways, .. } = result;
        Case {
            name,
            guest,
            outcome: outcome.name(),
            reason: outcome.reason(),
            remark,
            seconds: wall.as_secs_f64(),
            cpu_seconds: cpu.as_secs_f64(),
            figures,
            ways,
        }
    };
    let Head { seed, accel, qemu } = head;
    let cases = results.iter().map(case).collect();
    let run = Run { schema: SCHEMA, seed: *seed, accel, qemu, cases };
    let text = serde_json::to_string_pretty(&run).expect("strings and numbers become JSON");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, results};
    use super::*;

    #[test]
    fn the_report_has_the_documented_fields() {
        let value: serde_json::Value = serde_json::from_str(&text(&head(), &results())).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!((&value["seed"], &value["accel"]), (&7.into(), &"tcg".into()));
        let outcomes: Vec<_> = value["cases"].as_array().unwrap().iter().collect();
        let names: Vec<_> = outcomes.iter().map(|case| case["outcome"].as_str().unwrap()).collect();
        assert_eq!(names, ["pass", "fail", "skip", "lost_vm"]);
        assert_eq!(outcomes[1]["reason"], "slot 3 <differs>");
        assert_eq!(outcomes[0]["figures"]["payload_bytes"], 4096.0);
        assert_eq!(outcomes[0]["seconds"], 1.25);
        let keys: Vec<_> = outcomes[0].as_object().unwrap().keys().collect();
        let documented = [
            "cpu_seconds",
            "figures",
            "guest",
            "name",
            "outcome",
            "reason",
            "remark",
            "seconds",
            "ways",
        ];
        assert_eq!(keys, documented);
    }

    #[test]
    fn what_a_verdict_does_not_cover_is_told() {
        let mut results = results();
        results[0].remark = "only abrupt losses of power".to_owned();
        let value: serde_json::Value = serde_json::from_str(&text(&head(), &results)).unwrap();
        assert_eq!(value["cases"][0]["remark"], "only abrupt losses of power");
        assert_eq!(value["cases"][1]["remark"], "");
    }
}
