//! `api-resources` and `api-versions`: what the server offers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::Mapping;
use crate::print::TabWriter;
use crate::session::Session;

pub const RESOURCES: Command = Command {
    name: "api-resources",
    about: "Print the supported API resources on the server",
    usage: "[flags] [options]",
    flags: &[FLAGS],
    run: runs!(resources),
    ..Command::EMPTY
};

pub const VERSIONS: Command = Command {
    name: "api-versions",
    about: "Print the supported API versions on the server, in the form of \"group/version\"",
    run: runs!(versions),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("api-group", "Limit to resources in the specified API group."),
    Flag::switch("cached", "Accepted for compatibility."),
    Flag::list("categories", "Limit to resources that belong to the specified categories."),
    Flag::switch(
        "namespaced",
        "If false, non-namespaced resources will be returned, otherwise returning namespaced resources by default.",
    )
    .or("true"),
    Flag::switch("no-headers", "When using the default or custom-column output format, don't print headers."),
    Flag::text("output", "Output format. One of: (wide, name).").short('o'),
    Flag::text("sort-by", "If non-empty, sort list of resources using specified field. One of (name, kind)."),
    Flag::list("verbs", "Limit to resources that support the specified verbs."),
];

async fn resources(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return Err(session.usage(format!("unexpected arguments: [{}]", parsed.arguments.join(" "))));
    }
    let output = parsed.text("output");
    if !["", "wide", "name"].contains(&output) {
        return fail!("--output {output} is not available");
    }
    let mut mappings: Vec<Arc<Mapping>> = session.catalog().await?.all().to_vec();
    mappings.retain(|mapping| wanted(&parsed, mapping));
    match parsed.text("sort-by") {
        "kind" => mappings.sort_by_key(|mapping| mapping.kind.clone()),
        "name" => mappings.sort_by_key(|mapping| mapping.resource.clone()),
        "" => mappings.sort_by_key(|mapping| (mapping.group.clone(), mapping.resource.clone())),
        _ => return fail!("--sort-by accepts only name or kind"),
    }
    if output == "name" {
        return session.streams.print(mappings.iter().map(|mapping| mapping.qualified() + "\n").collect::<String>());
    }
    let wide = output == "wide";
    let mut writer = TabWriter::table();
    if !parsed.on("no-headers") {
        writer.write("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
        writer.write(if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" });
    }
    mappings.iter().for_each(|mapping| writer.write(&row(mapping, wide)));
    session.streams.print(writer.flush())
}

fn wanted(parsed: &Parsed, mapping: &Mapping) -> bool {
    let group = !parsed.given("api-group") || mapping.group == parsed.text("api-group");
    let scope = !parsed.given("namespaced") || mapping.namespaced == parsed.on("namespaced");
    let verbs = parsed.list("verbs").iter().all(|verb| mapping.can(verb));
    let categories = parsed.list("categories").iter().all(|category| mapping.categories.contains(category));
    mapping.preferred && !mapping.verbs.is_empty() && group && scope && verbs && categories
}

fn row(mapping: &Mapping, wide: bool) -> String {
    let short = mapping.short_names.join(",");
    let mut row =
        format!("{}\t{short}\t{}\t{}\t{}", mapping.resource, mapping.api_version(), mapping.namespaced, mapping.kind);
    if wide {
        row.push_str(&format!("\t{}\t{}", mapping.verbs.join(","), mapping.categories.join(",")));
    }
    row + "\n"
}

async fn versions(session: &Session, _: Parsed) -> Result<(), Failure> {
    let all: BTreeSet<String> = session.catalog().await?.all().iter().map(|mapping| mapping.api_version()).collect();
    session.streams.print(all.into_iter().map(|version| version + "\n").collect::<String>())
}
