//! What classes of volumes say to their drivers.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::is_qualified_name;

use crate::at::At;

const COUNT_MAX: usize = 512;
const SIZE_MAX: usize = 256 * 1024;

/// The name of who makes volumes.
pub fn provisioner(provisioner: &At<'_>, errors: &mut ErrorList) {
    if provisioner.required(errors, "") {
        let lower = provisioner.text().to_lowercase();
        errors.invalid_all(&provisioner.path, &lower, is_qualified_name(&lower));
    }
}

pub fn validate(parameters: &At<'_>, errors: &mut ErrorList) {
    let all = parameters.entries();
    if all.len() > COUNT_MAX {
        return errors.push(FieldError::too_long(&parameters.path, COUNT_MAX));
    }
    if all.iter().any(|(key, _)| key.is_empty()) {
        errors.invalid(&parameters.path, "", "field can not be empty.");
    }
    bytes_at_most(parameters, SIZE_MAX, errors);
}

/// Keys and values of a map of texts together.
pub fn bytes_at_most(map: &At<'_>, max: usize, errors: &mut ErrorList) {
    let size: usize = map.entries().iter().map(|(key, value)| key.len() + value.text().len()).sum();
    if size > max {
        errors.push(FieldError::too_long(&map.path, max));
    }
}
