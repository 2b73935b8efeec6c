//! Rules of one's own: CEL expressions over a completed configuration.
//!
//! Numbers are those of the wire, nanoseconds and bytes; `duration("7d")` and `quantity("50GiB")`
//! turn what a spec writes into them. An expression that fails, or says neither true nor false, is
//! reported: a rule never passes in silence.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, ExecutionError, Program};
use serde_json::Value;

use super::Case;
use crate::{
    finding::{Code, Finding, Place, did_you_mean},
    schema::Field,
    spec::value::Written,
    units,
};

/// An expression that was understood.
pub(super) struct Expression {
    rule: String,
    place: Place,
    program: Program,
    fields: Vec<&'static str>,
    context: Context<'static, 'static>,
}

/// Longer ones are programs, and their nesting would be too deep to walk.
const LONGEST: usize = 1000;
const DEEPEST: usize = 20;
/// More of them in each other would not end in the life of a person, or fit the memory.
const MOST_WALKS: usize = 3;

impl Expression {
    /// Understands what is written under `rule`, about resources with these rows.
    pub(super) fn read(
        rule: &str,
        written: &Written,
        rows: &'static [Field],
    ) -> Result<Self, Finding> {
        let text = written.value.as_str().unwrap_or_default();
        let place = written.place;
        let wrong = |message: String, help: &str| {
            Finding::error(Code::BadValue, message).at(place).help(help)
        };
        if text.len() > LONGEST || depth(text) > DEEPEST {
            let message = format!("the expression of `{rule}` is too long or too deep");
            return Err(wrong(message, "write at most 1,000 bytes, or make several rules of it"));
        }
        if walks(text) > MOST_WALKS {
            let message = format!("the expression of `{rule}` walks more than three lists");
            return Err(wrong(message, "make several rules of it"));
        }
        let program = Program::compile(text).map_err(|errors| {
            let why = errors.errors.first().map_or("", |it| it.msg.as_str());
            // What follows lists every token of the language.
            let why = why.split(" expecting ").next().unwrap_or(why);
            let why = plain(why.trim_start_matches("Syntax error: "));
            let message = format!("the expression of `{rule}` is no CEL: {why}");
            wrong(message, "write it like `config.num_replicas >= 3 && config.max_bytes > 0`")
        })?;
        let mut fields = Vec::new();
        for name in named(text) {
            let Some(field) = Field::find(rows, name) else {
                let names = rows.iter().map(|it| it.name);
                let help = did_you_mean(name, names)
                    .unwrap_or_else(|| "every field is in `docs/reference/fields.md`".to_owned());
                let message = format!("the expression of `{rule}` asks for a field `{name}`");
                return Err(Finding::error(Code::UnknownKey, message).at(place).help(help));
            };
            fields.push(field.name);
        }
        Ok(Self { rule: rule.to_owned(), place, program, fields, context: context() })
    }

    /// The fields it asks for, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().copied()
    }

    /// Whether it holds for a resource; an error where that cannot be said.
    pub(super) fn holds(&self, case: &Case<'_>) -> Result<bool, Finding> {
        let mut context = self.context.new_inner_scope();
        let config = case.config.iter().map(|(name, it)| (name.clone(), value(it)));
        context.add_variable_from_value("config", config.collect::<HashMap<_, _>>());
        context.add_variable_from_value("name", case.address.name());
        context.add_variable_from_value("environment", case.environment);
        context.add_variable_from_value("service", case.service);
        let why = match self.program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => return Ok(holds),
            Ok(other) => {
                let (rule, given) = (&self.rule, other.type_of());
                let message =
                    format!("the expression of `{rule}` gives {given}, not true or false");
                let help = "compare it with something: `config.max_bytes > 0`";
                return Err(Finding::error(Code::BadValue, message).at(self.place).help(help));
            }
            Err(why) => why,
        };
        let help = if let ExecutionError::NoSuchKey(name) = &why {
            format!("where it may be left out, ask first: `has(config.{name}) && …`")
        } else {
            "its names are `config`, `name`, `environment` and `service`; durations and sizes are \
             written `duration(\"7d\")` and `quantity(\"50GiB\")`"
                .to_owned()
        };
        let (rule, address, why) = (&self.rule, case.address, plain(&why.to_string()));
        let message = format!("the expression of `{rule}` fails for `{address}`: {why}");
        Err(Finding::error(Code::BadValue, message).at(self.place).help(help))
    }
}

/// What an expression can call, beside what CEL brings.
fn context() -> Context<'static, 'static> {
    let mut context = Context::default();
    let duration = |text: Arc<String>| {
        units::duration(&text).map_err(|why| ExecutionError::function_error("duration", why))
    };
    let quantity = |text: Arc<String>| {
        units::bytes(&text).map_err(|why| ExecutionError::function_error("quantity", why))
    };
    context.add_function("duration", duration).expect("nothing else is called `duration`");
    context.add_function("quantity", quantity).expect("nothing else is called `quantity`");
    context
}

/// A message of the language as one of ours: it begins in lower case, and moves no cursor.
fn plain(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_lowercase());
    let visible = first.into_iter().chain(letters);
    visible.map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// The names after `config.`, outside of quotes.
fn named(text: &str) -> Vec<&str> {
    let word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let bare = text.split(['\'', '"']).step_by(2);
    let names = bare.flat_map(|bare| {
        let found = bare.match_indices("config.");
        let whole = found.filter(move |(at, _)| !bare[..*at].ends_with(word));
        whole.map(move |(at, it)| {
            let rest = &bare[at + it.len()..];
            &rest[..rest.find(|it: char| !word(it)).unwrap_or(rest.len())]
        })
    });
    names.filter(|it| !it.is_empty()).collect()
}

/// How many lists are walked.
fn walks(text: &str) -> usize {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    words.filter(|it| ["all", "exists", "exists_one", "filter", "map"].contains(it)).count()
}

/// How deep brackets stand in each other.
fn depth(text: &str) -> usize {
    let mut open: usize = 0;
    let depths = text.chars().map(|it| {
        match it {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        open
    });
    depths.max().unwrap_or_default()
}

/// The wire's value as one of CEL's.
fn value(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(it) => cel::Value::Bool(*it),
        // Numbers of the wire fit; one beyond would be a fraction, which no field has.
        Value::Number(it) => it.as_i64().map_or(cel::Value::Null, cel::Value::Int),
        Value::String(it) => it.as_str().into(),
        Value::Array(list) => list.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            let map = map.iter().map(|(name, it)| (name.clone(), value(it)));
            map.collect::<HashMap<_, _>>().into()
        }
    }
}
