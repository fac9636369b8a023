//! Ways in the page: each station of a payload as a box, and all of them on one bar of the NVDIMM.

use std::fmt::Write;

use e2e::{CaseResult, Station, Way};

use super::escaped;

/// The bar's inner width, and a row's height, in the drawing's own units.
const WIDTH: f64 = 600.0;
const ROW: f64 = 18.0;
/// What is left for a station's name beside the bar.
const MARGIN: f64 = 150.0;

/// All ways of a run; nothing if there is none.
pub(super) fn section(results: &[CaseResult]) -> String {
    let mut text = String::new();
    for result in results {
        for way in &result.ways {
            let name = escaped(&result.name);
            let _ = write!(
                text,
                "<article class=\"way\">\n<h3>{name}: {}</h3>\n<ol>\n",
                escaped(&way.title)
            );
            text += &boxes(way);
            text += "</ol>\n";
            text += &bar(way);
            text += "</article>\n";
        }
    }
    if text.is_empty() {
        return text;
    }
    let told = "Offsets are those in the file behind the guest's NVDIMM: where they are equal, \
                nothing was copied.";
    format!("<h2>The way of a payload</h2>\n<p class=\"head\">{told}</p>\n{text}")
}

fn boxes(way: &Way) -> String {
    let mut text = String::new();
    let mut before = None;
    for station in &way.stations {
        let Station { name, witness, seen, .. } = station;
        let place = match (station.offset, before) {
            (Some(offset), Some(former)) if offset == former => {
                format!("<span class=\"pass\">NVDIMM {offset:#x}, the same place</span>")
            }
            (Some(offset), Some(_)) => {
                format!("<span class=\"fail\">NVDIMM {offset:#x}, another place</span>")
            }
            (Some(offset), None) => format!("NVDIMM {offset:#x}"),
            (None, _) if *name == "guest memory" => {
                "<span class=\"fail\">not in the NVDIMM</span>".into()
            }
            (None, _) => String::new(),
        };
        let _ = writeln!(
            text,
            "<li><b>{}</b><span>{}</span><span class=\"place\">{place}</span>\
             <small>seen by {}</small></li>",
            escaped(name),
            escaped(seen),
            escaped(witness),
        );
        before = station.offset.or(before);
    }
    text
}

/// The NVDIMM as a bar from its first byte to its last, with a mark for each station inside.
fn bar(way: &Way) -> String {
    let inside: Vec<_> =
        way.stations.iter().filter_map(|at| at.offset.map(|offset| (at.name, offset))).collect();
    if inside.is_empty() || way.nvdimm_bytes == 0 {
        return String::new();
    }
    let rows = u32::try_from(inside.len()).map_or(0.0, f64::from);
    let mut text = format!(
        "<svg role=\"img\" viewBox=\"0 0 {} {}\"><title>Where in the NVDIMM of {} MiB each station \
         lies</title>\n",
        WIDTH + MARGIN,
        rows * ROW + 4.0,
        way.nvdimm_bytes >> 20,
    );
    for (row, (name, offset)) in inside.iter().enumerate() {
        let y = u32::try_from(row).map_or(0.0, f64::from) * ROW;
        let x = MARGIN + WIDTH * share(*offset, way.nvdimm_bytes);
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar\" x=\"{MARGIN}\" y=\"{}\" width=\"{WIDTH}\" height=\"10\"/>\
             <rect class=\"mark\" x=\"{:.2}\" y=\"{}\" width=\"4\" height=\"14\"/>",
            MARGIN - 8.0,
            y + 13.0,
            escaped(name),
            y + 4.0,
            x - 2.0,
            y + 2.0,
        );
    }
    text + "</svg>\n"
}

#[expect(clippy::cast_precision_loss, reason = "a drawing needs no more than 52 bits")]
fn share(offset: u64, of: u64) -> f64 {
    (offset as f64 / of as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::results;
    use super::*;

    fn way(offsets: &[Option<u64>]) -> Way {
        let names = ["frame", "guest memory", "slot"];
        let station = |(offset, name): (&Option<u64>, &'static str)| Station {
            name,
            witness: "w",
            seen: "<s>".into(),
            offset: *offset,
        };
        let stations = offsets.iter().zip(names).map(station).collect();
        Way { title: "t".into(), nvdimm_bytes: 1 << 20, stations }
    }

    #[test]
    fn equal_offsets_are_the_same_place_and_others_are_not() {
        let same = boxes(&way(&[None, Some(0x10), Some(0x10)]));
        assert!(same.contains("0x10, the same place") && !same.contains("fail"), "{same}");
        assert!(same.contains("&lt;s&gt;"));
        let other = boxes(&way(&[None, Some(0x10), Some(0x20)]));
        assert!(other.contains("0x20, another place"), "{other}");
        assert!(boxes(&way(&[None, None, Some(1)])).contains("not in the NVDIMM"));
    }

    #[test]
    fn the_bar_has_a_mark_for_each_place() {
        assert_eq!(bar(&way(&[None, Some(0), Some(1 << 19)])).matches("class=\"mark\"").count(), 2);
        assert_eq!(bar(&way(&[None, None])), "");
        assert!(bar(&way(&[None, Some(u64::MAX)])).contains("x=\"748.00\""), "inside the drawing");
    }

    #[test]
    fn a_run_without_ways_has_no_section() {
        let mut results = results();
        assert!(section(&results).contains("a payload arrives"));
        for result in &mut results {
            result.ways.clear();
        }
        assert_eq!(section(&results), "");
    }
}
