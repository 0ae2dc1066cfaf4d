//! From the claims of a token to a user: by claims or by expressions, and the rules that both must hold.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use expressions::{Bindings, Budget, CompileError, DeclType, Environment, Program, Type, compile};
use serde_json::{Value, json};

use super::OidcError;
use super::configuration::{ClaimMappings, ClaimValidationRule, JwtAuthenticator, PrefixedClaimOrExpression};
use crate::UserInfo;
use crate::authn::CREDENTIAL_ID;

/// What is asked of the claims.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    username: Source,
    groups: Source,
    uid: Source,
    extra: Vec<(String, Program)>,
    required: BTreeMap<String, String>,
    claim_rules: Vec<Rule>,
    user_rules: Vec<Rule>,
}

/// Where one part of the user comes from.
#[derive(Debug, Default)]
enum Source {
    #[default]
    Nowhere,
    Claim {
        name: String,
        prefix: String,
    },
    Expression(Program),
}

/// An expression that must be true.
#[derive(Debug)]
struct Rule {
    program: Program,
    text: String,
    message: String,
}

fn claims_environment() -> Environment {
    Environment::new().variable("claims", DeclType::map_of(DeclType::dynamic()))
}

fn user_environment() -> Environment {
    let string = || DeclType::simple(Type::String);
    let strings = || DeclType::list_of(string());
    let fields =
        [("username", string()), ("uid", string()), ("groups", strings()), ("extra", DeclType::map_of(strings()))];
    Environment::new().variable("user", DeclType::object("kubernetes.UserInfo", fields))
}

/// Compiles, and notes what is wrong at the place where the expression stands.
struct Compiler<'a> {
    environment: Environment,
    errors: &'a mut ErrorList,
}

impl Compiler<'_> {
    fn compile(&mut self, text: &str, expected: &Type, path: &Path) -> Option<Program> {
        let why = match compile(text, &self.environment, expected) {
            Ok(program) => return Some(program),
            Err(error @ CompileError::Invalid { .. }) => format!("compilation failed: {error}"),
            Err(error @ CompileError::ResultType { .. }) => error.to_string(),
        };
        self.errors.invalid(path, text, why);
        None
    }

    fn source(&mut self, mapping: &PrefixedClaimOrExpression, path: &Path, needed: bool) -> Source {
        match (mapping.claim.as_str(), mapping.expression.as_str()) {
            ("", "") if needed => self.errors.required(path, "claim or expression is required"),
            ("", "") => {}
            ("", text) => {
                if let Some(prefix) = &mapping.prefix {
                    let why = "may not be specified when expression is set";
                    self.errors.invalid(&path.child("prefix"), prefix.as_str(), why);
                }
                let program = self.compile(text, &Type::Dyn, &path.child("expression"));
                return program.map_or(Source::Nowhere, Source::Expression);
            }
            (name, "") => {
                if mapping.prefix.is_none() {
                    let why =
                        "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                    self.errors.required(&path.child("prefix"), why);
                }
                let prefix = mapping.prefix.clone().unwrap_or_default();
                return Source::Claim { name: name.to_owned(), prefix };
            }
            _ => self.errors.invalid(path, "", "claim and expression can't both be set"),
        }
        Source::Nowhere
    }

    fn rule(&mut self, text: &str, message: &str, path: &Path) -> Option<Rule> {
        let program = self.compile(text, &Type::Bool, path)?;
        Some(Rule { program, text: text.to_owned(), message: message.to_owned() })
    }
}

impl Mapping {
    pub fn compile(config: &JwtAuthenticator, path: &Path, errors: &mut ErrorList) -> Mapping {
        let mut mapping = Mapping::default();
        let mut compiler = Compiler { environment: claims_environment(), errors };
        let rules = path.child("claimValidationRules");
        for (index, rule) in config.claim_validation_rules.iter().enumerate() {
            let earlier = &config.claim_validation_rules[..index];
            mapping.add_claim_rule(rule, earlier, &rules.index(index), &mut compiler);
        }
        mapping.add_mappings(&config.claim_mappings, &path.child("claimMappings"), &mut compiler);
        compiler.environment = user_environment();
        for (index, rule) in config.user_validation_rules.iter().enumerate() {
            let path = path.child("userValidationRules").index(index).child("expression");
            let earlier = &config.user_validation_rules[..index];
            match rule.expression.as_str() {
                "" => compiler.errors.required(&path, ""),
                text if earlier.iter().any(|other| other.expression == text) => compiler.errors.duplicate(&path, text),
                text => mapping.user_rules.extend(compiler.rule(text, &rule.message, &path)),
            }
        }
        mapping
    }

    fn add_claim_rule(
        &mut self,
        rule: &ClaimValidationRule,
        earlier: &[ClaimValidationRule],
        path: &Path,
        compiler: &mut Compiler<'_>,
    ) {
        let errors = &mut *compiler.errors;
        match (rule.claim.as_str(), rule.expression.as_str()) {
            ("", "") => errors.required(path, "claim or expression is required"),
            ("", text) => {
                if !rule.required_value.is_empty() {
                    let why = "may not be specified when expression is set";
                    errors.invalid(&path.child("requiredValue"), rule.required_value.as_str(), why);
                }
                let path = path.child("expression");
                if earlier.iter().any(|other| other.expression == text) {
                    return errors.duplicate(&path, text);
                }
                self.claim_rules.extend(compiler.rule(text, &rule.message, &path));
            }
            (claim, "") => {
                if !rule.message.is_empty() {
                    let why = "may not be specified when claim is set";
                    errors.invalid(&path.child("message"), rule.message.as_str(), why);
                }
                if self.required.insert(claim.to_owned(), rule.required_value.clone()).is_some() {
                    errors.duplicate(&path.child("claim"), claim);
                }
            }
            (claim, _) => errors.invalid(path, claim, "claim and expression can't both be set"),
        }
    }

    fn add_mappings(&mut self, mappings: &ClaimMappings, path: &Path, compiler: &mut Compiler<'_>) {
        self.username = compiler.source(&mappings.username, &path.child("username"), true);
        self.groups = compiler.source(&mappings.groups, &path.child("groups"), false);
        let prefix = (!mappings.uid.claim.is_empty()).then(String::new);
        let uid = PrefixedClaimOrExpression {
            claim: mappings.uid.claim.clone(),
            expression: mappings.uid.expression.clone(),
            prefix,
        };
        self.uid = compiler.source(&uid, &path.child("uid"), false);
        for (index, extra) in mappings.extra.iter().enumerate() {
            let path = path.child("extra").index(index);
            check_key(&extra.key, &path.child("key"), compiler.errors);
            if mappings.extra[..index].iter().any(|other| other.key == extra.key) {
                compiler.errors.duplicate(&path.child("key"), extra.key.as_str());
                continue;
            }
            let path = path.child("valueExpression");
            if extra.value_expression.is_empty() {
                compiler.errors.required(&path, "");
                continue;
            }
            let program = compiler.compile(&extra.value_expression, &Type::Dyn, &path);
            self.extra.extend(program.map(|program| (extra.key.clone(), program)));
        }
        self.check_email(&mappings.username.expression, path, compiler.errors);
    }

    /// A mail address that nobody has verified names nobody.
    fn check_email(&self, text: &str, path: &Path, errors: &mut ErrorList) {
        let Source::Expression(username) = &self.username else { return };
        let rules = self.claim_rules.iter().map(|rule| &rule.program);
        let mut programs = rules.chain(self.extra.iter().map(|(_, program)| program)).chain([username]);
        if username.selects("claims", "email") && !programs.any(|program| program.selects("claims", "email_verified")) {
            let why = "claims.email_verified must be used in claimMappings.username.expression or \
                       claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used \
                       in claimMappings.username.expression";
            errors.invalid(&path.child("username").child("expression"), text, why);
        }
    }

    /// The user that verified claims stand for.
    pub fn user(&self, claims: &Value) -> Result<UserInfo, OidcError> {
        let mut user = UserInfo {
            name: self.username(claims)?,
            groups: self.groups(claims)?,
            uid: self.uid(claims)?,
            extra: self.extra(claims)?,
        };
        for (claim, wanted) in &self.required {
            if text(claims, claim)? != wanted {
                return Err(OidcError::Claim(claim.clone()));
            }
        }
        check_rules(&self.claim_rules, "claims", claims)?;
        if !self.user_rules.is_empty() {
            let shown = json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
            check_rules(&self.user_rules, "user", &shown)?;
        }
        if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            user.extra.entry(CREDENTIAL_ID.into()).or_insert_with(|| vec![format!("JTI={id}")]);
        }
        Ok(user)
    }

    fn username(&self, claims: &Value) -> Result<String, OidcError> {
        match &self.username {
            Source::Nowhere => Err(OidcError::Claim(String::new())),
            Source::Expression(program) => {
                let name =
                    one_text(&evaluate(program, "claims", claims)?, "username claim expression must return a string")?;
                if name.is_empty() {
                    return Err(OidcError::Expression("empty username via CEL expression is not allowed".into()));
                }
                Ok(name)
            }
            Source::Claim { name, prefix } => {
                let own = text(claims, name)?;
                if name == "email" && claims.get("email_verified").is_some_and(|verified| *verified != true) {
                    return Err(OidcError::Claim("email_verified".into()));
                }
                Ok(format!("{prefix}{own}"))
            }
        }
    }

    /// A list, or a single text.
    fn groups(&self, claims: &Value) -> Result<Vec<String>, OidcError> {
        match &self.groups {
            Source::Nowhere => Ok(Vec::new()),
            Source::Expression(program) => texts(&evaluate(program, "claims", claims)?),
            Source::Claim { name, prefix } => {
                let unfit = || OidcError::Claim(name.clone());
                let prefixed = |group: &str| format!("{prefix}{group}");
                match claims.get(name.as_str()) {
                    None | Some(Value::Null) => Ok(Vec::new()),
                    Some(Value::String(group)) => Ok(vec![prefixed(group)]),
                    Some(Value::Array(list)) => {
                        list.iter().map(|group| group.as_str().map(prefixed).ok_or_else(unfit)).collect()
                    }
                    Some(_) => Err(unfit()),
                }
            }
        }
    }

    fn uid(&self, claims: &Value) -> Result<String, OidcError> {
        match &self.uid {
            Source::Nowhere => Ok(String::new()),
            Source::Claim { name, .. } => text(claims, name).map(str::to_owned),
            Source::Expression(program) => {
                one_text(&evaluate(program, "claims", claims)?, "uid claim expression must return a string")
            }
        }
    }

    fn extra(&self, claims: &Value) -> Result<BTreeMap<String, Vec<String>>, OidcError> {
        let mut extra = BTreeMap::new();
        for (key, program) in &self.extra {
            let values = texts(&evaluate(program, "claims", claims)?)?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

/// A domain and a path, in lower case, not of Kubernetes' own.
fn check_key(key: &str, path: &Path, errors: &mut ErrorList) {
    let Some((domain, rest)) = key.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty())
    else {
        return match key {
            "" => errors.required(path, ""),
            key => errors.invalid(path, key, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        };
    };
    errors.invalid_all(path, domain, apimachinery::validation::is_dns1123_subdomain(domain));
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        errors.invalid(path, key, "Invalid path");
    }
    if key != key.to_lowercase() {
        errors.invalid(path, key, "must be lowercase");
    }
    let within = |own: &str| domain == own || domain.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'));
    if within("kubernetes.io") || within("k8s.io") {
        errors.invalid(path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    }
}

fn evaluate(program: &Program, name: &str, value: &Value) -> Result<Value, OidcError> {
    let failed = |error: expressions::EvalError| OidcError::Expression(error.to_string());
    let bindings = Bindings::new().json(name, value);
    program.evaluate(&bindings, &mut Budget::default()).and_then(|value| value.to_json()).map_err(failed)
}

fn check_rules(rules: &[Rule], name: &str, value: &Value) -> Result<(), OidcError> {
    for rule in rules {
        if evaluate(&rule.program, name, value)? != true {
            let Rule { text, message, .. } = rule;
            return Err(OidcError::Expression(format!("validation expression '{text}' failed: {message}")));
        }
    }
    Ok(())
}

fn one_text(value: &Value, otherwise: &str) -> Result<String, OidcError> {
    value.as_str().map(str::to_owned).ok_or_else(|| OidcError::Expression(otherwise.to_owned()))
}

/// Empty texts are as good as none.
fn texts(value: &Value) -> Result<Vec<String>, OidcError> {
    let unfit = || OidcError::Expression("expression must return a string or a list of strings".into());
    let all = match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => {
            list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(unfit)).collect::<Result<_, _>>()?
        }
        _ => return Err(unfit()),
    };
    Ok(all.into_iter().filter(|text| !text.is_empty()).collect())
}

fn text<'a>(claims: &'a Value, claim: &str) -> Result<&'a str, OidcError> {
    claims.get(claim).and_then(Value::as_str).ok_or_else(|| OidcError::Claim(claim.to_string()))
}
