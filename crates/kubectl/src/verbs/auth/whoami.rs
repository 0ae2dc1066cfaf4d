//! `auth whoami`.

use http::Method;
use serde_json::{Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::objects::Call;
use crate::print::{Format, OUTPUT_FLAGS, TabWriter, go_text};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "whoami",
    about: "Experimental: Check self subject attributes",
    usage: "[flags] [options]",
    flags: &[OUTPUT_FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut format = Format::of_written(&parsed)?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let call = Call::new(Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews").json(&review);
    let answer = match call.value(session.client()?).await {
        Err(failure) if failure.has_reason("Forbidden") => {
            return fail!(
                "the selfsubjectreviews API is not enabled in the cluster or you do not have permission to call it"
            );
        }
        Err(failure) if failure.is_not_found() => {
            return fail!("the selfsubjectreviews API is not enabled in the cluster");
        }
        answer => answer?,
    };
    session.streams.print(match &mut format {
        Some(format) => format.render(&answer)?,
        None => table(&answer["status"]["userInfo"]),
    })
}

fn table(user: &Value) -> String {
    let mut writer = TabWriter::table();
    writer.write("ATTRIBUTE\tVALUE\n");
    for (title, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(text) = user[field].as_str().filter(|text| !text.is_empty()) {
            writer.write(&format!("{title}\t{text}\n"));
        }
    }
    if user["groups"].as_array().is_some_and(|groups| !groups.is_empty()) {
        writer.write(&format!("Groups\t{}\n", go_text(&user["groups"])));
    }
    for (key, values) in user["extra"].as_object().into_iter().flatten() {
        writer.write(&format!("Extra: {key}\t{}\n", go_text(values)));
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_shown() {
        let user = json!({"username": "u", "groups": ["a", "b"], "extra": {"k": ["v"]}});
        expect_test::expect![[r"
            ATTRIBUTE   VALUE
            Username    u
            Groups      [a b]
            Extra: k    [v]
        "]]
        .assert_eq(&table(&user));
    }
}
