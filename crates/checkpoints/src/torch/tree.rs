//! From nested dictionaries to dotted names.

use super::rebuild::Rebuilder;
use crate::pickle::{Id, Pickle, Value};
use crate::safetensors::{MAX_HEADER, MAX_TENSORS};
use crate::weights::{Entry, Group};

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 32;
/// Most items looked at in all containers together: a small pickle can name the same ones exponentially often.
const MAX_ITEMS: usize = 8_000_000;
/// Longest dotted name.
const MAX_NAME: usize = 4_096;

/// Parts of a pickled `torch.nn.Module` that do not appear in parameter names.
const TRANSPARENT: [&str; 3] = ["_parameters", "_buffers", "_modules"];

#[derive(Default)]
pub(super) struct Found {
    pub(super) tensors: Vec<(String, Entry)>,
    /// Name and reason of tensors that cannot be read.
    pub(super) refused: Vec<(String, String)>,
    /// Dictionaries that tensors lie in.
    pub(super) groups: Vec<Group>,
}

/// Finds every tensor that the root leads to.
pub(super) fn walk(pickle: &Pickle, rebuilder: &Rebuilder<'_>) -> Result<Found, String> {
    let mut walker = Walker {
        pickle,
        rebuilder,
        leads: vec![Leads::Unknown; pickle.len()],
        found: Found::default(),
        items: 0,
        name_bytes: 0,
    };
    walker.survey()?;
    walker.name()?;
    Ok(walker.found)
}

/// Whether a value leads to a tensor.
#[derive(Clone, Copy, PartialEq)]
enum Leads {
    Unknown,
    /// Being looked into: seen again, it contains itself, which adds no name.
    Open,
    No,
    Yes,
}

/// How an item is named by its container.
#[derive(Clone, Copy)]
enum Part {
    Key(Id, usize),
    Position(usize),
    /// The container's own name goes on.
    Nothing,
}

struct Walker<'a> {
    pickle: &'a Pickle,
    rebuilder: &'a Rebuilder<'a>,
    leads: Vec<Leads>,
    found: Found,
    items: usize,
    name_bytes: usize,
}

impl Walker<'_> {
    /// Fills `leads`, each value once, with a stack of its own.
    fn survey(&mut self) -> Result<(), String> {
        let mut stack = vec![(self.pickle.root, false)];
        while let Some((id, done)) = stack.pop() {
            let at = id as usize;
            if done {
                let children = self.children(id)?;
                let yes = children.iter().any(|&(_, child)| self.leads[child as usize] == Leads::Yes);
                self.leads[at] = if yes { Leads::Yes } else { Leads::No };
                continue;
            }
            if self.leads[at] != Leads::Unknown {
                continue;
            }
            if self.is_tensor(id) {
                self.leads[at] = Leads::Yes;
                continue;
            }
            let children = self.children(id)?;
            self.leads[at] = if children.is_empty() { Leads::No } else { Leads::Open };
            if !children.is_empty() {
                stack.push((id, true));
                stack.extend(children.iter().map(|&(_, child)| (child, false)));
            }
        }
        self.items = 0;
        Ok(())
    }

    /// Walks the containers that lead to tensors and names what it finds.
    fn name(&mut self) -> Result<(), String> {
        let mut path = Vec::new();
        let mut stack = vec![(self.pickle.root, String::new(), 0)];
        while let Some((id, name, depth)) = stack.pop() {
            path.truncate(depth);
            if self.leads[id as usize] != Leads::Yes || path.contains(&id) {
                continue;
            }
            if let Value::Object(object) = self.pickle.get(id)
                && let Some(tensor) = self.rebuilder.tensor(object)
            {
                self.keep(name, tensor)?;
                continue;
            }
            if depth >= MAX_DEPTH {
                return Err(format!("its objects are nested deeper than {MAX_DEPTH}"));
            }
            path.push(id);
            let is_list = matches!(self.pickle.get(id), Value::List(_) | Value::Tuple(_));
            if depth > 0 && !is_list && self.found.groups.len() < MAX_TENSORS {
                self.found.groups.push(Group { path: name.clone(), depth });
            }
            for (part, child) in self.children(id)? {
                if self.leads[child as usize] == Leads::Yes {
                    let name = self.join(&name, part);
                    self.name_bytes += name.len();
                    if name.len() > MAX_NAME || self.name_bytes > 4 * MAX_HEADER {
                        return Err("its tensors have too many or too long names".to_owned());
                    }
                    stack.push((child, name, depth + 1));
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, name: String, tensor: Result<Entry, String>) -> Result<(), String> {
        if self.found.tensors.len() + self.found.refused.len() >= MAX_TENSORS {
            return Err(format!("it has more than {MAX_TENSORS} tensors"));
        }
        let name = if name.is_empty() { "tensor".to_owned() } else { name };
        match tensor {
            Ok(entry) => self.found.tensors.push((name, entry)),
            Err(reason) => self.found.refused.push((name, reason)),
        }
        Ok(())
    }

    fn is_tensor(&self, id: Id) -> bool {
        matches!(self.pickle.get(id), Value::Object(object) if self.rebuilder.tensor(object).is_some())
    }

    /// The containers and objects directly inside a container. A dictionary class keeps its items; of any other object the
    /// parts that were set on it are looked at.
    fn children(&mut self, id: Id) -> Result<Vec<(Part, Id)>, String> {
        let mut out = Vec::new();
        match self.pickle.get(id) {
            Value::Dict(items) => self.add_items(items, false, &mut out)?,
            Value::List(elements) => self.add_elements(elements, &mut out)?,
            Value::Tuple(elements) => self.add_elements(elements, &mut out)?,
            Value::Object(object) => {
                self.add_items(&object.items, false, &mut out)?;
                self.add_elements(&object.elements, &mut out)?;
                if self.is_dictionary(object.callable) {
                    self.add_pairs(object.arguments, &mut out)?;
                } else if let Some(state) = object.state {
                    self.add_state(state, &mut out)?;
                }
            }
            _ => {}
        }
        Ok(out)
    }

    fn is_dictionary(&self, callable: Id) -> bool {
        matches!(self.pickle.global(callable), Some(("collections", "OrderedDict" | "defaultdict")))
    }

    /// The attributes of an object: a dictionary, or a dictionary and its slots.
    fn add_state(&mut self, state: Id, out: &mut Vec<(Part, Id)>) -> Result<(), String> {
        let parts = match self.pickle.get(state) {
            Value::Tuple(parts) if parts.len() == 2 => parts.to_vec(),
            _ => vec![state],
        };
        for part in parts {
            if let Value::Dict(items) = self.pickle.get(part) {
                self.add_items(items, true, out)?;
            }
        }
        Ok(())
    }

    /// Pairs given to a dictionary's class as its argument, as Python 2 did.
    fn add_pairs(&mut self, arguments: Id, out: &mut Vec<(Part, Id)>) -> Result<(), String> {
        let pairs = self.pickle.sequence(arguments).and_then(|a| a.first()).and_then(|&id| self.pickle.sequence(id));
        let pairs = pairs.unwrap_or_default();
        self.count(pairs.len())?;
        for &pair in pairs {
            if let Some(&[key, value]) = self.pickle.sequence(pair) {
                self.add_items(&[(key, value)], false, out)?;
            }
        }
        Ok(())
    }

    fn add_items(&mut self, items: &[(Id, Id)], attributes: bool, out: &mut Vec<(Part, Id)>) -> Result<(), String> {
        self.count(items.len())?;
        for (position, &(key, value)) in items.iter().enumerate() {
            if !self.may_lead(value) {
                continue;
            }
            let silent = attributes && self.pickle.text(key).is_some_and(|k| TRANSPARENT.contains(&k));
            out.push((if silent { Part::Nothing } else { Part::Key(key, position) }, value));
        }
        Ok(())
    }

    fn add_elements(&mut self, elements: &[Id], out: &mut Vec<(Part, Id)>) -> Result<(), String> {
        self.count(elements.len())?;
        let inner = elements.iter().enumerate().filter(|&(_, &value)| self.may_lead(value));
        out.extend(inner.map(|(position, &value)| (Part::Position(position), value)));
        Ok(())
    }

    fn count(&mut self, items: usize) -> Result<(), String> {
        self.items += items;
        if self.items > MAX_ITEMS { Err(format!("its objects lead to more than {MAX_ITEMS} items")) } else { Ok(()) }
    }

    fn may_lead(&self, id: Id) -> bool {
        matches!(self.pickle.get(id), Value::Object(_) | Value::Dict(_) | Value::List(_) | Value::Tuple(_))
    }

    fn join(&self, name: &str, part: Part) -> String {
        let part = match part {
            Part::Nothing => return name.to_owned(),
            Part::Position(position) => position.to_string(),
            Part::Key(key, position) => match self.pickle.get(key) {
                Value::Text(text) => text.to_string(),
                Value::Int(number) => number.to_string(),
                _ => format!("#{position}"),
            },
        };
        if name.is_empty() { part } else { format!("{name}.{part}") }
    }
}
