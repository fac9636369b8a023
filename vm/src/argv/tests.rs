//! Argv, tested against golden files.

use super::*;
