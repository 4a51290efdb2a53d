//! Asks the gateway's own compiler whether it would take the table.

use vamp_model::step;
use vamp_routing::{CompiledTable, Part, Problem, wire};

use super::Finding;

/// Compiles the table as every gateway will. What one would refuse is found here, before anything is stored. What did
/// not change since the table of the former plan is shared with it.
pub(crate) fn lint(parts: Vec<Part>, previous: Option<&CompiledTable>) -> Result<CompiledTable, Vec<Finding>> {
    let compiled = CompiledTable::assemble(wire::Generation::default(), parts, previous);
    compiled.map_err(|problems| problems.iter().map(finding).collect())
}

fn finding(problem: &Problem) -> Finding {
    let message = format!("gateway `{}`: {}", problem.gateway, problem.message);
    Finding::gateway(&problem.gateway, pointer(&problem.path), message, "")
}

/// `routes["[127.0.0.1:80]"].condition` as a JSON pointer; a path of another form points at the gateway.
fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let Some((key, after)) = quoted.split_once("\"]") else { return pointer };
            pointer = step(&pointer, key);
            rest = after;
        } else if let Some(indexed) = rest.strip_prefix('[') {
            let Some((index, after)) = indexed.split_once(']') else { return pointer };
            pointer = step(&pointer, index);
            rest = after;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            if name.is_empty() {
                return pointer;
            }
            pointer = step(&pointer, name);
            rest = after;
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn a_problem_path_becomes_a_pointer() {
        assert_eq!(pointer("routes[\"[127.0.0.1:80]\"].condition"), "/routes/[127.0.0.1:80]/condition");
        assert_eq!(pointer("routes[\"a/b\"].rewrites[0]"), "/routes/a~1b/rewrites/0");
        assert_eq!(pointer("virtual_hosts"), "/virtual_hosts");
        assert_eq!(pointer(""), "");
    }
}
