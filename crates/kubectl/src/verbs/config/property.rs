//! `config set` and `config unset`: one value, found by its dotted name.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::unexpected;
use crate::command::{Command, runs};
use crate::config::{Settings, Stanza};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed, parse_bool};
use crate::print::decode_base64;
use crate::session::Session;

pub const SET: Command = Command {
    name: "set",
    about: "Set an individual value in a kubeconfig file",
    usage: "PROPERTY_NAME PROPERTY_VALUE [options]",
    flags: &[&[Flag::switch(
        "set-raw-bytes",
        "When writing a []byte PROPERTY_VALUE, write the given string directly without base64 decoding.",
    )]],
    run: runs!(set),
    ..Command::EMPTY
};

pub const UNSET: Command = Command {
    name: "unset",
    about: "Unset an individual value in a kubeconfig file",
    usage: "PROPERTY_NAME [options]",
    run: runs!(unset),
    ..Command::EMPTY
};

/// What a property may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Switch,
    Bytes,
    Texts,
    /// Something that can be taken away, but not set.
    Whole,
    Map,
}

use Kind::{Bytes, Map as Maps, Switch, Text, Texts, Whole};

/// The fields as properties name them, as files name them, and what they hold.
type Fields = &'static [(&'static str, &'static str, Kind)];

const CLUSTER: Fields = &[
    ("server", "server", Text),
    ("tls-server-name", "tls-server-name", Text),
    ("insecure-skip-tls-verify", "insecure-skip-tls-verify", Switch),
    ("certificate-authority", "certificate-authority", Text),
    ("certificate-authority-data", "certificate-authority-data", Bytes),
    ("proxy-url", "proxy-url", Text),
    ("disable-compression", "disable-compression", Switch),
    ("extensions", "extensions", Maps),
];

const USER: Fields = &[
    ("client-certificate", "client-certificate", Text),
    ("client-certificate-data", "client-certificate-data", Bytes),
    ("client-key", "client-key", Text),
    ("client-key-data", "client-key-data", Bytes),
    ("token", "token", Text),
    ("tokenFile", "tokenFile", Text),
    ("act-as", "as", Text),
    ("act-as-uid", "as-uid", Text),
    ("act-as-groups", "as-groups", Texts),
    ("act-as-user-extra", "as-user-extra", Maps),
    ("username", "username", Text),
    ("password", "password", Text),
    ("auth-provider", "auth-provider", Whole),
    ("exec", "exec", Whole),
    ("extensions", "extensions", Maps),
];

const CONTEXT: Fields = &[
    ("cluster", "cluster", Text),
    ("user", "user", Text),
    ("namespace", "namespace", Text),
    ("extensions", "extensions", Maps),
];

/// Where a dotted name leads.
#[derive(Debug, PartialEq)]
enum Place {
    CurrentContext,
    /// Kind and version: they are always the same.
    Fixed,
    Preferences,
    Colors,
    Extensions,
    Part(&'static str),
    Stanza(&'static str, String),
    Field(&'static str, String, &'static str, Kind),
}

fn fields_of(part: &str) -> Fields {
    match part {
        "clusters" => CLUSTER,
        "users" => USER,
        _ => CONTEXT,
    }
}

fn part_of<'a>(settings: &'a mut Settings, part: &str) -> &'a mut BTreeMap<String, Stanza> {
    match part {
        "clusters" => &mut settings.clusters,
        "users" => &mut settings.users,
        _ => &mut settings.contexts,
    }
}

fn place(name: &str) -> Result<Place, Failure> {
    let words: Vec<&str> = name.split('.').collect();
    let whole = |place: Place| if words.len() == 1 { Ok(place) } else { unparsed(name) };
    match words[0] {
        "current-context" => whole(Place::CurrentContext),
        "kind" | "apiVersion" => whole(Place::Fixed),
        "extensions" => whole(Place::Extensions),
        "preferences" => match words[1..] {
            [] => Ok(Place::Preferences),
            ["colors"] => Ok(Place::Colors),
            _ => unparsed(name),
        },
        "clusters" => part_place("clusters", name, &words[1..]),
        "users" => part_place("users", name, &words[1..]),
        "contexts" => part_place("contexts", name, &words[1..]),
        _ => fail!("unable to parse {name} after [] at api.Config"),
    }
}

fn unparsed<T>(name: &str) -> Result<T, Failure> {
    fail!("unable to parse one or more field values of {name}")
}

/// A stanza's name may have dots: it ends before the first field.
fn part_place(part: &'static str, name: &str, words: &[&str]) -> Result<Place, Failure> {
    let fields = fields_of(part);
    if words.is_empty() {
        return Ok(Place::Part(part));
    }
    let is_field = |word: &&str| fields.iter().any(|(field, ..)| field == word);
    let end = words[1..].iter().position(is_field).map_or(words.len(), |at| at + 1);
    let stanza = words[..end].join(".");
    match &words[end..] {
        [] => Ok(Place::Stanza(part, stanza)),
        [word] => {
            let found = fields.iter().find(|(field, ..)| field == word);
            let (_, field, kind) = found.expect("the name ends before a field");
            Ok(Place::Field(part, stanza, field, *kind))
        }
        _ => unparsed(name),
    }
}

async fn set(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name, value] = parsed.arguments.as_slice() else {
        return Err(unexpected(session, "Unexpected", &parsed.arguments));
    };
    if value.is_empty() {
        return fail!("you cannot use set to unset a property");
    }
    if name.is_empty() {
        return fail!("you must specify a property");
    }
    let raw = parsed.on("set-raw-bytes");
    session.config.access().change(false, |settings| apply_set(settings, &place(name)?, value, raw))?;
    session.streams.line(format!("Property {name:?} set."))
}

fn apply_set(settings: &mut Settings, place: &Place, text: &str, raw: bool) -> Result<(), Failure> {
    match place {
        Place::CurrentContext => settings.current_context = text.to_owned(),
        Place::Fixed => {}
        Place::Colors => {
            parse_bool(text)?;
            let preferences = settings.rest.entry("preferences").or_insert_with(|| json!({}));
            preferences["colors"] = parse_bool(text)?.into();
        }
        Place::Preferences | Place::Extensions => return fail!("can't set a map to a value: map[]"),
        Place::Part(part) | Place::Stanza(part, _) => {
            let names: Vec<&String> = part_of(settings, part).keys().collect();
            return fail!(
                "can't set a map to a value: map[{}]",
                names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
            );
        }
        Place::Field(part, name, field, kind) => {
            let value = value(text, *kind, raw)?;
            part_of(settings, part).entry(name.clone()).or_default().fields.insert((*field).to_owned(), value);
        }
    }
    Ok(())
}

fn value(text: &str, kind: Kind, raw: bool) -> Result<Value, Failure> {
    match kind {
        Text => Ok(text.into()),
        Switch => Ok(parse_bool(text)?.into()),
        Bytes if raw => Ok(STANDARD.encode(text).into()),
        Bytes => match decode_base64(text) {
            Ok(bytes) => Ok(STANDARD.encode(bytes).into()),
            Err(why) => fail!("error decoding input value: {why}"),
        },
        Texts => fail!("unrecognized slice type. string"),
        Whole => fail!("this can be unset, but not set"),
        Maps => fail!("can't set a map to a value: map[]"),
    }
}

async fn unset(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name] = parsed.arguments.as_slice() else {
        return Err(unexpected(session, "Unexpected", &parsed.arguments));
    };
    if name.is_empty() {
        return fail!("you must specify a property");
    }
    session.config.access().change(false, |settings| apply_unset(settings, &place(name)?))?;
    session.streams.line(format!("Property {name:?} unset."))
}

fn apply_unset(settings: &mut Settings, place: &Place) -> Result<(), Failure> {
    match place {
        Place::CurrentContext => settings.current_context.clear(),
        Place::Fixed => {}
        Place::Preferences => drop(settings.rest.remove("preferences")),
        Place::Colors => {
            let preferences = settings.rest.get_mut("preferences").and_then(Value::as_object_mut);
            preferences.map(|preferences: &mut Map<String, Value>| preferences.remove("colors"));
        }
        Place::Extensions => drop(settings.rest.remove("extensions")),
        Place::Part(part) => part_of(settings, part).clear(),
        Place::Stanza(part, name) => drop(part_of(settings, part).remove(name)),
        Place::Field(part, name, field, _) => match part_of(settings, part).get_mut(name) {
            Some(stanza) => drop(stanza.fields.remove(*field)),
            None => return fail!("current map key `{name}` is invalid"),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_dots() {
        let field = Place::Field("clusters", "a.b.c".into(), "server", Text);
        assert_eq!(place("clusters.a.b.c.server").expect("a property"), field);
        assert_eq!(place("users.a.act-as").expect("a property"), Place::Field("users", "a".into(), "as", Text));
        assert_eq!(place("contexts.x.y").expect("a property"), Place::Stanza("contexts", "x.y".into()));
        let why = |name: &str| place(name).expect_err("no property").text();
        assert_eq!(why("nonsense.x"), "unable to parse nonsense.x after [] at api.Config");
        assert_eq!(why("users.u.exec.command"), "unable to parse one or more field values of users.u.exec.command");
    }
}
