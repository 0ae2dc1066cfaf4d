//! Validation of the options of requests.

use crate::field::{ErrorList, FieldError, Path};

const FIELD_MANAGER_LEN_MAX: usize = 128;

pub fn validate_field_manager(manager: &str) -> ErrorList {
    field_manager(manager, &Path::new("fieldManager"))
}

pub(super) fn field_manager(manager: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if manager.len() > FIELD_MANAGER_LEN_MAX {
        errors.push(FieldError::too_long(path, FIELD_MANAGER_LEN_MAX));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.invalid(path, manager, detail);
    }
    errors
}

/// Of create and update.
pub fn validate_create_options(manager: &str, dry_run: &[String], field_validation: &str) -> ErrorList {
    let mut errors = validate_field_manager(manager);
    errors.append(validate_dry_run(dry_run));
    if !["", "Ignore", "Warn", "Strict"].contains(&field_validation) {
        let supported = ["", "Ignore", "Strict", "Warn"];
        errors.not_supported(&Path::new("fieldValidation"), field_validation, &supported);
    }
    errors
}

pub fn validate_patch_options(
    manager: &str,
    dry_run: &[String],
    field_validation: &str,
    force: Option<bool>,
    apply: bool,
) -> ErrorList {
    let mut errors = ErrorList::new();
    if apply && manager.is_empty() {
        errors.required(&Path::new("fieldManager"), "is required for apply patch");
    }
    if !apply && force.is_some() {
        errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
    }
    errors.append(validate_create_options(manager, dry_run, field_validation));
    errors
}

pub fn validate_delete_options(policy: Option<&str>, orphan: Option<bool>, dry_run: &[String]) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("propagationPolicy");
    if let Some(policy) = policy {
        if orphan.is_some() {
            errors.invalid(&path, policy, "orphanDependents and deletionPropagation cannot be both set");
        }
        if !["Foreground", "Background", "Orphan"].contains(&policy) {
            errors.not_supported(&path, policy, &["Foreground", "Background", "Orphan", "nil"]);
        }
    }
    errors.append(validate_dry_run(dry_run));
    errors
}

fn validate_dry_run(dry_run: &[String]) -> ErrorList {
    let mut errors = ErrorList::new();
    if dry_run.iter().any(|value| value != "All") {
        errors.not_supported(&Path::new("dryRun"), dry_run.to_vec(), &["All"]);
    }
    errors
}
