//! Whether an answer is what a schema of the document says: its sort, its members, and none that is missing.

use serde_json::Value;

/// What every answered artifact has. Who sends one may leave them out, so that the schema does not ask for them.
const OF_ARTIFACTS: [&str; 3] = ["name", "kind", "metadata"];

/// Nothing, or what does not fit and where.
pub(super) fn fits(document: &Value, schema: &Value, answer: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).ok_or(format!("{reference} leads nowhere"))?;
        return fits(document, schema, answer);
    }
    for schema in schema["allOf"].as_array().into_iter().flatten() {
        fits(document, schema, answer)?;
    }
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let tried: Vec<_> = alternatives.iter().map(|schema| fits(document, schema, answer)).collect();
        if tried.iter().all(Result::is_err) {
            let why: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
            return Err(format!("it is none of {}: {}", why.len(), why.join("; or ")));
        }
    }
    if !is_of_sort(&schema["type"], answer) {
        return Err(format!("{answer} is not of the type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(answer)) {
        return Err(format!("{answer} is not among {}", schema["enum"]));
    }
    match answer {
        Value::Array(items) => {
            let of_items =
                schema.get("items").into_iter().flat_map(|schema| items.iter().map(move |item| (schema, item)));
            of_items.enumerate().try_for_each(|(index, (schema, item))| {
                fits(document, schema, item).map_err(|why| format!("/{index}: {why}"))
            })
        }
        Value::Object(members) => has_members(document, schema, members),
        _ => Ok(()),
    }
}

fn has_members(document: &Value, schema: &Value, members: &serde_json::Map<String, Value>) -> Result<(), String> {
    let properties = schema["properties"].as_object();
    let is_artifact = properties.is_some_and(|known| OF_ARTIFACTS.iter().all(|name| known.contains_key(*name)));
    // A part that is written out has the same members and no kind of its own.
    let is_artifact = is_artifact && properties.is_some_and(|known| known.contains_key("rollout"));
    let of_artifact = OF_ARTIFACTS.into_iter().filter(|_| is_artifact);
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.chain(of_artifact).find(|name| !members.contains_key(*name)) {
        return Err(format!("the member `{missing}` is missing"));
    }
    for (name, value) in members {
        let known = properties.and_then(|properties| properties.get(name));
        let schema = match (known, &schema["additionalProperties"]) {
            (Some(schema), _) => schema,
            (None, Value::Bool(false)) => return Err(format!("the member `{name}` is in no schema")),
            (None, other) => other,
        };
        if schema.is_object() {
            fits(document, schema, value).map_err(|why| format!("/{name}: {why}"))?;
        }
    }
    Ok(())
}

fn is_of_sort(wanted: &Value, answer: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => answer.is_object(),
        "array" => answer.is_array(),
        "string" => answer.is_string(),
        "null" => answer.is_null(),
        "boolean" => answer.is_boolean(),
        "integer" => answer.is_u64() || answer.is_i64(),
        "number" => answer.is_number(),
        _ => false,
    };
    match wanted {
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        Value::String(name) => is(name),
        _ => true,
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({"components": {"schemas": {"A": {
        "type": "object", "properties": {"n": {"type": "integer"}, "s": {"enum": ["x"]}}, "required": ["n"],
        "additionalProperties": false,
    }}}});
    let schema = serde_json::json!({"type": "array", "items": {"$ref": "#/components/schemas/A"}});
    let check = |answer: Value| fits(&document, &schema, &answer);
    assert_eq!(check(serde_json::json!([{"n": 1, "s": "x"}])), Ok(()));
    for (answer, part) in [
        (serde_json::json!([{}]), "`n` is missing"),
        (serde_json::json!([{"n": 1}, {"n": 1, "m": 2}]), "/1: the member `m`"),
        (serde_json::json!([{"n": 1.5}]), "/0: /n: 1.5"),
        (serde_json::json!([{"n": 1, "s": "y"}]), "/s"),
        (serde_json::json!({}), "type"),
    ] {
        let why = check(answer).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}
