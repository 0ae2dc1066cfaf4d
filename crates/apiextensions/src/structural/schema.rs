//! A structural schema as the engine of merges and server-side apply asks it.

use api::schema::{self, DynamicSchema, ListKind, SchemaNode};

use super::{Additional, List, Structural, Type};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The schema of a whole object: metadata is what it is everywhere.
pub struct Root(pub Structural);

fn object_meta() -> Option<SchemaNode<'static>> {
    schema::definition(OBJECT_META).map(schema::Definition::node)
}

fn string() -> SchemaNode<'static> {
    SchemaNode::Static { ty: schema::Type::String, field: None }
}

fn child<'a>(structural: &'a Structural, embedded: bool, name: &str) -> Option<SchemaNode<'a>> {
    match name {
        "metadata" if embedded => object_meta(),
        "apiVersion" | "kind" if embedded => Some(string()),
        _ => structural.field(name).map(|child| SchemaNode::Dynamic(child)),
    }
}

macro_rules! dynamic {
    ($ty:ty, |$this:ident| $node:expr, $embedded:expr) => {
        impl DynamicSchema for $ty {
            fn child(&self, name: &str) -> Option<SchemaNode<'_>> {
                let $this = self;
                child($node, $embedded, name)
            }

            fn items(&self) -> Option<SchemaNode<'_>> {
                let $this = self;
                let node: &Structural = $node;
                let items = node.items.as_deref().or_else(|| node.additional_schema());
                items.map(|items| SchemaNode::Dynamic(items))
            }

            fn scalar(&self) -> Option<schema::Type> {
                let $this = self;
                $node.scalar_type()
            }

            fn is_map(&self) -> bool {
                let $this = self;
                matches!($node.additional, Additional::Schema(_) | Additional::Bool(true))
            }

            fn is_list(&self) -> bool {
                let $this = self;
                $node.ty == Type::Array
            }

            fn atomic(&self) -> bool {
                let $this = self;
                $node.atomic_map
            }

            fn list_kind(&self) -> ListKind {
                let $this = self;
                match $node.list {
                    List::Atomic => ListKind::Atomic,
                    List::Set => ListKind::Set,
                    List::Map => ListKind::Map,
                }
            }

            fn list_keys(&self) -> &[&str] {
                let $this = self;
                $node.list_keys()
            }

            fn preserves_unknown_fields(&self) -> bool {
                let $this = self;
                $node.says_nothing()
            }

            fn keeps_unknown_fields(&self) -> bool {
                let $this = self;
                $node.preserves_unknown
            }
        }
    };
}

dynamic!(Structural, |this| this, this.embedded);
dynamic!(Root, |this| &this.0, true);

impl Structural {
    fn scalar_type(&self) -> Option<schema::Type> {
        match self.ty {
            Type::String => Some(schema::Type::String),
            Type::Integer => Some(schema::Type::Int64),
            Type::Number => Some(schema::Type::Double),
            Type::Boolean => Some(schema::Type::Bool),
            Type::Unsaid if self.int_or_string => Some(schema::Type::IntOrString),
            Type::Unsaid | Type::Object | Type::Array => None,
        }
    }

    /// Whether the schema lets anything be here and knows nothing of it.
    fn says_nothing(&self) -> bool {
        self.preserves_unknown && self.properties.is_empty() && !self.embedded && self.additional_schema().is_none()
    }
}
