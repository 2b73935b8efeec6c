//! stub
use super::Desired;
use crate::finding::Finding;
/// stub
pub fn check(_desired: &Desired, _findings: &mut Vec<Finding>) {}
