//! Who owns which field: `metadata.managedFields`, kept on every write, and server-side apply, which asks it.
//!
//! [`Endpoint`] is the door: [`Endpoint::update`] keeps the entries on a write that is not an apply,
//! [`Endpoint::apply`] merges an applied configuration into an object. Inside, [`updater`] decides about conflicts and
//! about what is pruned; around it stand the entries' form ([`entries`]), their cap, the upgrade from client-side apply
//! and the mapping between an object and its Scale.

mod cap;
mod conflict;
mod endpoint;
mod entries;
mod field_set;
mod last_applied;
mod scale;
mod updater;
mod versions;

pub use conflict::{Conflict, Conflicts};
pub use endpoint::{ApplyError, Endpoint, Manager, update};
pub use entries::{EntriesError, Entry, decode, encode, same_but_for_times, set};
pub use field_set::{FieldSet, FieldsError, PathElement, path_text};
pub use scale::ScaleEntries;
pub use versions::{OneVersion, Versions};
