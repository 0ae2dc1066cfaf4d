//! CustomResourceDefinitions, as a stored kind.

use ::apiextensions::definition;
use api::schema::SchemaNode;
use apimachinery::field::ErrorList;
use apimachinery::strict;
use serde_json::Value;

use super::schema_props;
use crate::cells::{created_at, name};
use crate::strategy::{Column, Context, Strategy, keep_all_but_status_and_metadata};

pub struct CustomResourceDefinition;

impl Strategy for CustomResourceDefinition {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["spec"],
            _ => &[],
        }
    }

    fn decode(&self, definition: &mut Value, node: SchemaNode<'_>) -> Result<Vec<String>, String> {
        let problems = strict::read(definition, node)?;
        schema_props::read(definition)?;
        Ok(problems)
    }

    fn prepare_for_create(&self, definition: &mut Value, _context: &Context<'_>) {
        definition::prepare_for_create(definition);
    }

    fn default(&self, definition: &mut Value) {
        definition::default(definition);
    }

    fn validate(&self, definition: &Value) -> ErrorList {
        definition::validate(definition)
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        definition::prepare_for_update(new, old);
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        definition::validate_update(new, old)
    }

    /// Upstream's status endpoint lets metadata through.
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        definition::validate_status_update(new)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        definition::warnings(new, old)
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Created At", "date")] }
    }

    fn row(&self, definition: &Value, _now: i64) -> Vec<Value> {
        vec![name(definition), created_at(definition)]
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }
}
