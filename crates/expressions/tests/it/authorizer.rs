//! The authorizer's chain.

use std::sync::Mutex;

use expressions::{
    Authorizer, Bindings, Budget, Decision, DeclType, Environment, Question, ResourceTarget, Type, compile, types,
};

#[derive(Default)]
struct Recorder(Mutex<Vec<Question>>);

impl Authorizer for Recorder {
    fn authorize(&self, question: &Question) -> Decision {
        self.0.lock().expect("nobody panics").push(question.clone());
        Decision { allowed: question.verb == "get", reason: "said so".into(), error: None }
    }
}

fn ask(text: &str) -> (String, Vec<Question>) {
    let environment = Environment::new()
        .variable("authorizer", DeclType::simple(Type::Opaque(types::opaque::AUTHORIZER)))
        .variable("authorizer.requestResource", DeclType::simple(Type::Opaque(types::opaque::RESOURCE_CHECK)));
    let recorder = Recorder::default();
    let answer = {
        let program = compile(text, &environment, &Type::Dyn).expect("compiles");
        let target = ResourceTarget { resource: "pods".into(), ..ResourceTarget::default() };
        let bindings = Bindings::new().authorizer(&recorder, Some(target));
        program
            .evaluate(&bindings, &mut Budget::default())
            .map_or_else(|error| error.to_string(), |value| format!("{value:?}"))
    };
    (answer, recorder.0.into_inner().expect("nobody panics"))
}

#[test]
fn a_resource_check_carries_the_whole_chain() {
    let (answer, asked) =
        ask("authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').subresource('scale')\
        .namespace('default').name('web').check('get').allowed()");
    assert_eq!(answer, "bool(true)");
    assert_eq!(asked[0].service_account, Some(("ns".into(), "sa".into())));
    assert!(format!("{:?}", asked[0].target).contains("subresource: \"scale\", namespace: \"default\", name: \"web\""));
}

#[test]
fn the_request_itself_and_paths_can_be_checked() {
    assert_eq!(ask("authorizer.requestResource.check('create').allowed()").0, "bool(false)");
    assert_eq!(ask("authorizer.path('/healthz').check('get').reason()").0, "string(said so)");
    assert_eq!(ask("authorizer.path('').check('get').allowed()").0, "path must not be empty");
}

#[test]
fn more_than_two_checks_cost_too_much() {
    let check = "authorizer.path('/a').check('get').allowed()";
    assert_eq!(ask(&[check; 2].join(" && ")).0, "bool(true)");
    assert_eq!(ask(&[check; 3].join(" && ")).0, "operation cancelled: actual cost limit exceeded");
}
