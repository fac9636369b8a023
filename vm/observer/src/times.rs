//! Times: how often markers with an id were executed.

use std::collections::HashMap;

use crash::{Marker, Op};

/// A counter for each operation and id.
#[derive(Debug, Default)]
pub(crate) struct Times(HashMap<(Op, u64), u64>);

impl Times {
    /// Counts a marker; its number if this is the time that its second argument asks for, where 0
    /// stands for every time.
    pub(crate) fn hit(&mut self, marker: &Marker) -> Option<u64> {
        let [id, wanted, _] = marker.args;
        let count = self.0.entry((marker.op, id)).or_default();
        *count += 1;
        (wanted == 0 || wanted == *count).then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use crash::{Pc, Vcpu};

    use super::*;

    #[test]
    fn each_id_has_its_own_count() {
        let marker = |op, id, n| Marker {
            vcpu: Vcpu(0),
            pc: Pc(0),
            op,
            args: [id, n, 0],
            ranges: Vec::new(),
        };
        let mut times = Times::default();
        assert_eq!(times.hit(&marker(Op::Snap, 1, 2)), None);
        assert_eq!(times.hit(&marker(Op::Snap, 2, 0)), Some(1));
        assert_eq!(times.hit(&marker(Op::Cut, 1, 1)), Some(1));
        assert_eq!(times.hit(&marker(Op::Snap, 1, 2)), Some(2));
        assert_eq!(times.hit(&marker(Op::Snap, 1, 2)), None);
    }
}
