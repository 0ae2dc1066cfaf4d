//! Lists: of JSON, or made by the evaluation.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Value, json};
use crate::decl::{DeclType, ListSemantics};
use crate::errors::EvalError;

#[derive(Clone)]
pub enum List<'a> {
    /// The declaration is that of the list.
    Json(&'a [Json], Arc<DeclType>),
    Owned(Arc<Vec<Value<'a>>>),
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Owned(items) => items.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json(items, decl) => Some(json::read(items.get(index)?, &json::element(decl))),
            Self::Owned(items) => items.get(index).cloned().map(Ok),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn to_vec(&self) -> Result<Vec<Value<'a>>, EvalError> {
        self.iter().collect()
    }

    pub(crate) fn semantics(&self) -> &ListSemantics {
        match self {
            Self::Json(_, decl) => &decl.list,
            Self::Owned(_) => &ListSemantics::Atomic,
        }
    }

    /// Appends in place when nobody else holds the list.
    pub(crate) fn extend(self, more: Vec<Value<'a>>) -> Result<Self, EvalError> {
        let mut items = match self {
            Self::Owned(items) => Arc::try_unwrap(items).unwrap_or_else(|shared| shared.to_vec()),
            json @ Self::Json(..) => json.to_vec()?,
        };
        items.extend(more);
        Ok(Self::Owned(Arc::new(items)))
    }

    /// What `+` means by the list type of the left side: append, union, or merge by key.
    pub(crate) fn concat(self, other: &Self) -> Result<Self, EvalError> {
        let semantics = self.semantics().clone();
        match semantics {
            ListSemantics::Atomic => self.extend(other.to_vec()?),
            ListSemantics::Set => {
                let known = self.to_vec()?;
                let new = other.to_vec()?.into_iter().filter(|item| !known.iter().any(|old| old.equals(item)));
                self.extend(new.collect())
            }
            ListSemantics::Map(keys) => self.merge(other, &keys),
        }
    }

    fn merge(self, other: &Self, keys: &[String]) -> Result<Self, EvalError> {
        let mut items = self.to_vec()?;
        for new in other.iter() {
            let new = new?;
            match items.iter().position(|old| super::compare::same_keys(old, &new, keys)) {
                Some(index) => items[index] = new,
                None => items.push(new),
            }
        }
        Ok(Self::Owned(Arc::new(items)))
    }
}
