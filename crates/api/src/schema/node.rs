//! A place in a schema, static or loaded at run time.

use serde_json::Value;

use super::{Definition, Field, Merge, Type, WhenEmpty, by_index, key_defaults};

/// How a list merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole. Also what a list is that says nothing.
    Atomic,
    /// Items are their own identity.
    Set,
    /// Items are objects, identified by [`SchemaNode::list_keys`].
    Map,
}

/// A schema that is loaded at run time. The names are those of [`SchemaNode`]'s methods.
pub trait DynamicSchema: Sync + Send {
    fn child(&self, name: &str) -> Option<SchemaNode<'_>>;
    fn items(&self) -> Option<SchemaNode<'_>>;
    fn scalar(&self) -> Option<Type>;
    fn is_map(&self) -> bool;
    fn is_list(&self) -> bool;
    fn atomic(&self) -> bool;
    fn list_kind(&self) -> ListKind;
    fn list_keys(&self) -> &[&str];
    /// Anything may lie here, and nothing of it is known.
    fn preserves_unknown_fields(&self) -> bool;
    /// Fields that are not named may stand here too, and anywhere below.
    fn keeps_unknown_fields(&self) -> bool {
        self.preserves_unknown_fields()
    }
    /// What the place holds when nothing is given.
    fn default(&self) -> Option<Value> {
        None
    }
}

/// A place in a schema: ask it what lies there and what lies below.
#[derive(Clone, Copy)]
pub enum SchemaNode<'a> {
    Static { ty: Type, field: Option<&'static Field> },
    Dynamic(&'a dyn DynamicSchema),
}

impl<'a> SchemaNode<'a> {
    pub fn definition(definition: &'static Definition) -> Self {
        Self::Static { ty: super::type_of(definition), field: None }
    }

    fn of_field(field: &'static Field) -> Self {
        Self::Static { ty: field.ty, field: Some(field) }
    }

    /// The field of an object, or the value of a map.
    pub fn child(&self, name: &str) -> Option<SchemaNode<'a>> {
        match self {
            Self::Static { ty: Type::Object(index), .. } => by_index(*index).field(name).map(Self::of_field),
            Self::Static { ty: Type::Map(value), .. } => Some(Self::Static { ty: **value, field: None }),
            Self::Static { .. } => None,
            Self::Dynamic(schema) => schema.child(name),
        }
    }

    /// The item of a list or the value of a map.
    pub fn items(&self) -> Option<SchemaNode<'a>> {
        match self {
            Self::Static { ty: Type::List(item) | Type::Map(item), .. } => {
                Some(Self::Static { ty: **item, field: None })
            }
            Self::Static { .. } => None,
            Self::Dynamic(schema) => schema.items(),
        }
    }

    /// The type, unless it is an object, a list or a map.
    pub fn scalar(&self) -> Option<Type> {
        match self {
            Self::Static { ty: Type::Object(_) | Type::List(_) | Type::Map(_), .. } => None,
            Self::Static { ty, .. } => Some(*ty),
            Self::Dynamic(schema) => schema.scalar(),
        }
    }

    pub fn is_list(&self) -> bool {
        match self {
            Self::Static { ty, .. } => matches!(ty, Type::List(_)),
            Self::Dynamic(schema) => schema.is_list(),
        }
    }

    /// A map with keys of the user's choice (labels), not an object with fields.
    pub fn is_map(&self) -> bool {
        match self {
            Self::Static { ty, .. } => matches!(ty, Type::Map(_)),
            Self::Dynamic(schema) => schema.is_map(),
        }
    }

    /// An object with named fields.
    pub fn is_object(&self) -> bool {
        match self {
            Self::Static { ty, .. } => matches!(ty, Type::Object(_)),
            Self::Dynamic(schema) => schema.scalar().is_none() && !schema.is_list() && !schema.is_map(),
        }
    }

    /// Anything may lie here, and nobody looks into it.
    pub fn is_any(&self) -> bool {
        match self {
            Self::Static { ty, .. } => *ty == Type::Any,
            Self::Dynamic(schema) => schema.preserves_unknown_fields(),
        }
    }

    /// Fields that are not named may stand here too, and anywhere below.
    pub fn keeps_unknown_fields(&self) -> bool {
        match self {
            Self::Static { .. } => self.is_any(),
            Self::Dynamic(schema) => schema.keeps_unknown_fields(),
        }
    }

    /// Merges replace the value as a whole. Lists answer with [`SchemaNode::list_kind`].
    pub fn atomic(&self) -> bool {
        match self {
            Self::Static { ty, field } => {
                let merge = field.map_or(Merge::Plain, |field| field.merge);
                let by_type = matches!(ty, Type::Object(index) if by_index(*index).atomic);
                merge == Merge::Atomic || (by_type && merge != Merge::Granular)
            }
            Self::Dynamic(schema) => schema.atomic(),
        }
    }

    pub fn list_kind(&self) -> ListKind {
        match self {
            Self::Static { field: Some(field), .. } => match field.merge {
                Merge::Plain | Merge::Granular | Merge::Atomic => ListKind::Atomic,
                Merge::Set => ListKind::Set,
                Merge::Keyed(_) => ListKind::Map,
            },
            Self::Static { .. } => ListKind::Atomic,
            Self::Dynamic(schema) => schema.list_kind(),
        }
    }

    /// What the field itself says of its list or map: `atomic`, `granular`, `set` or `map`.
    pub fn declared(&self) -> Option<&'static str> {
        match self {
            Self::Static { field: Some(field), .. } => match field.merge {
                Merge::Plain => None,
                Merge::Granular => Some("granular"),
                Merge::Atomic => Some("atomic"),
                Merge::Set => Some("set"),
                Merge::Keyed(_) => Some("map"),
            },
            _ => None,
        }
    }

    pub fn list_keys(&self) -> &'a [&'a str] {
        match self {
            Self::Static { field: Some(Field { merge: Merge::Keyed(keys), .. }), .. } => keys,
            Self::Static { .. } => &[],
            Self::Dynamic(schema) => schema.list_keys(),
        }
    }

    /// What a key field of this object (an item of a keyed list) holds when it is absent.
    pub fn key_default(&self, key: &str) -> Option<Value> {
        match self {
            Self::Static { ty: Type::Object(index), .. } => key_defaults::of(by_index(*index), key),
            Self::Static { .. } => None,
            Self::Dynamic(schema) => match schema.child(key)? {
                Self::Dynamic(field) => field.default(),
                Self::Static { .. } => None,
            },
        }
    }

    /// Strategic merge: the list is merged, not replaced.
    pub fn patch_merge(&self) -> bool {
        matches!(self, Self::Static { field: Some(field), .. } if field.patch_merge)
    }

    pub fn patch_retain_keys(&self) -> bool {
        matches!(self, Self::Static { field: Some(field), .. } if field.patch_retain_keys)
    }

    /// Strategic merge: the object is replaced, not merged.
    pub fn patch_replace(&self) -> bool {
        matches!(self, Self::Static { field: Some(field), .. } if field.patch_replace)
    }

    /// Empty when there is none.
    pub fn patch_merge_key(&self) -> &'static str {
        match self {
            Self::Static { field: Some(field), .. } => field.patch_merge_key,
            _ => "",
        }
    }

    pub fn when_empty(&self) -> WhenEmpty {
        match self {
            Self::Static { field: Some(field), .. } => field.when_empty,
            _ => WhenEmpty::Keep,
        }
    }

    /// The fields of a static object.
    pub fn fields(&self) -> &'static [Field] {
        self.static_definition().map(Definition::fields).unwrap_or_default()
    }

    /// The definition of a static object.
    pub fn static_definition(&self) -> Option<&'static Definition> {
        match self {
            Self::Static { ty: Type::Object(index), .. } => Some(by_index(*index)),
            _ => None,
        }
    }
}
