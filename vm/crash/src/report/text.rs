//! Text, for a terminal: a report in a few lines.

use std::fmt::{Display, Formatter, Result};

use super::{Lost, Report, Site};

impl Display for Site {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match (&self.source, self.pc) {
            (Some(source), _) => write!(f, "{source}")?,
            (None, Some(pc)) => write!(f, "{:#x}", pc.0)?,
            (None, None) => write!(f, "a device")?,
        }
        match self.vcpu {
            Some(vcpu) => write!(f, " (event {}, CPU {})", self.event, vcpu.0),
            None => write!(f, " (event {})", self.event),
        }
    }
}

impl Display for Lost {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "line {:#x}: {}", self.offset.0, self.class)?;
        if let Some(writer) = &self.writer {
            write!(f, "\n    last written by {writer}")?;
        }
        match &self.flush {
            Some(flush) => write!(f, "\n    last flushed by {flush}"),
            None => write!(f, "\n    flushed by nobody"),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{}: {}", self.class, self.why)?;
        writeln!(f, "  power lost after {}", self.after)?;
        if let Some(marker) = &self.marker {
            writeln!(f, "  last marker: {:?} {:?}", marker.op, marker.args)?;
        }
        match self.lost.len() {
            0 => writeln!(f, "  nothing needs to be lost"),
            1 => writeln!(f, "  one lost line is enough"),
            count => writeln!(f, "  {count} lost lines together, none of which alone"),
        }?;
        self.lost.iter().try_for_each(|lost| writeln!(f, "  {lost}"))
    }
}
