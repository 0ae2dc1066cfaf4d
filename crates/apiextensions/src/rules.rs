//! placeholder
use crate::structural::Structural;
use apimachinery::field::{ErrorList, Path};
use serde_json::Value;
pub struct Budget;
impl Budget {
    pub fn new(_: bool) -> Self {
        Self
    }
    pub fn exceeded(self, _: &Path) -> ErrorList {
        ErrorList::new()
    }
}
pub struct Scope<'a>(&'a Structural);
impl<'a> Scope<'a> {
    pub fn root(s: &'a Structural) -> Self {
        Self(s)
    }
    pub fn additional(&self) -> Option<Scope<'a>> {
        None
    }
    pub fn items(&self) -> Option<Scope<'a>> {
        None
    }
    pub fn property(&self, _: &str) -> Option<Scope<'a>> {
        None
    }
}
pub fn check(_: &Scope<'_>, _: &Value, _: &Path, _: Option<&Path>, _: &mut Budget) -> ErrorList {
    ErrorList::new()
}
pub fn check_default(_: &Structural, _: &Value, _: &Path) -> ErrorList {
    ErrorList::new()
}
pub struct Rules;
impl Rules {
    pub fn compile(_: &Value, _: &Structural) -> Self {
        Self
    }
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn check(&self, _: &Structural, _: &Value, _: Option<&Value>) -> ErrorList {
        ErrorList::new()
    }
}
