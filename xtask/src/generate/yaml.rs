//! YAML that people can read at the top and that stays small below: what fits on a line is put on one.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Length that a line should not exceed.
const WIDTH: usize = 118;

/// Length of flow style that is still put on several lines rather than in block style.
const PARAGRAPH: usize = 600;

/// A YAML document, in block style with flow style for what is short and has no prose in it.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

/// Writes a value that begins on a line of its own.
fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let _ = write!(text, "{:indent$}{}:", "", scalar(key));
                after_key(text, value, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(text, "{:indent$}-", "");
                after_dash(text, item, indent);
            }
        }
        other => {
            let _ = writeln!(text, "{:indent$}{}", "", flow(other));
        }
    }
}

/// Writes what follows `key:`.
fn after_key(text: &mut String, value: &Value, indent: usize) {
    let column = text.len() - text.rfind('\n').map_or(0, |position| position + 1);
    if indent == 0 && value.as_object().is_some_and(|fields| !fields.is_empty()) {
        text.push('\n');
        block(text, value, 2);
    } else if let Some(line) = one_line(value, WIDTH.saturating_sub(column + 1)) {
        let _ = writeln!(text, " {line}");
    } else if let Value::String(prose) = value {
        text.push_str(" >-\n");
        fold(text, prose, indent + 2);
    } else if let Some(words) = paragraph(value) {
        text.push('\n');
        fold(text, &words, indent + 2);
    } else {
        text.push('\n');
        block(text, value, indent + if value.is_array() { 0 } else { 2 });
    }
}

/// Flow style that spaces may break, if the value is of middling length and no string in it has a space.
fn paragraph(value: &Value) -> Option<String> {
    if has_prose(value) || has_space(value) {
        return None;
    }
    Some(flow(value)).filter(|words| words.len() <= PARAGRAPH)
}

/// Writes what follows `-`.
fn after_dash(text: &mut String, item: &Value, indent: usize) {
    match item {
        Value::Object(fields)
            if !fields.is_empty() && one_line(item, WIDTH.saturating_sub(indent + 2)).is_none() =>
        {
            let mut inner = String::new();
            block(&mut inner, item, indent + 2);
            let _ = writeln!(text, " {}", inner.trim());
        }
        _ => {
            let _ = writeln!(text, " {}", flow(item));
        }
    }
}

/// The value on one line, unless it is too long or has prose in it. A long string without spaces cannot be folded.
fn one_line(value: &Value, room: usize) -> Option<String> {
    match value {
        Value::String(string) if !foldable(string) => Some(flow(value)),
        _ if has_prose(value) => None,
        _ => Some(flow(value)).filter(|line| line.len() <= room),
    }
}

fn foldable(string: &str) -> bool {
    let words = string.split(' ').count();
    words > 1 && string.split_whitespace().count() == words && !string.contains('\n')
}

fn has_prose(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.get("description").is_some_and(Value::is_string) || fields.values().any(has_prose)
        }
        Value::Array(items) => items.iter().any(has_prose),
        _ => false,
    }
}

fn has_space(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains(' ') || has_space(value)),
        Value::Array(items) => items.iter().any(has_space),
        Value::String(string) => string.contains(' '),
        _ => false,
    }
}

/// Writes words as lines that a YAML reader joins again with single spaces.
fn fold(text: &mut String, prose: &str, indent: usize) {
    let mut column = 0;
    for word in prose.split(' ') {
        if column > 0 && indent + column + 1 + word.len() > WIDTH {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            let _ = write!(text, "{:indent$}{word}", "");
        } else {
            let _ = write!(text, " {word}");
            column += 1;
        }
        column += word.len();
    }
    text.push('\n');
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => format!("{{{}}}", flow_fields(fields)),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(string) => scalar(string),
        other => other.to_string(),
    }
}

fn flow_fields(fields: &Map<String, Value>) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
    pairs.join(", ")
}

/// A string as a plain scalar if every reader of YAML takes it for a string, else in double quotes.
fn scalar(string: &str) -> String {
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/')
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
        && string.chars().any(|c| c.is_ascii_alphabetic())
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".nan", ".inf"]
            .contains(&string.to_ascii_lowercase().as_str());
    if plain { string.into() } else { Value::from(string).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
    }

    #[test]
    fn every_definition_survives() {
        for crd in kamaji_api::crd::all() {
            let value = serde_json::to_value(crd).unwrap();
            assert_eq!(read(&document(&value)), value);
        }
    }

    #[test]
    fn awkward_values_survive() {
        let long = "a sentence: with #signs, [brackets] and \"quotes\" that is far longer than what fits on a single line of the file";
        let value = json!({
            "strings": ["yes", "NO", "1.5", "~", "", " ", "a: b", "#", "é", "10.0.0.0/8", "- x", "two  spaces", "line\nend", "'"],
            "empty": { "object": {}, "list": [] },
            "prose": { "description": long, "default": {} },
            "numbers": [1, -2, 1.5, true, null],
            "nested": [{ "description": "x", "items": [{ "description": long }] }, [["a"]]],
            "spaced": format!("{long}  {long}"),
        });
        assert_eq!(read(&document(&value)), value);
    }

    #[test]
    fn what_fits_is_put_on_one_line() {
        let value =
            json!({ "a": { "b": { "type": "object", "required": ["x"] }, "c": { "description": "C." } } });
        assert_eq!(document(&value), "a:\n  b: {required: [x], type: object}\n  c:\n    description: C.\n");
    }
}
