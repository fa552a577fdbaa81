//! What is known about a type so far: a graph of its parts, and what a run over it is about.

use std::collections::HashMap;

use serde_json::Value;

use super::super::Scalar;
use super::made_up;
use super::refusal::Refusal;

/// A part of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(pub(super) usize);

impl NodeId {
    /// The whole.
    pub(super) const ROOT: Self = Self(0);
}

/// What a part is.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nothing asked for it yet.
    Unseen,
    /// It is read over.
    Ignored,
    Null,
    Leaf(Leaf),
    Option(NodeId),
    List(NodeId),
    Tuple(Vec<NodeId>),
    Map(NodeId, NodeId),
    Object(Vec<FieldNode>),
    Enum(Vec<VariantNode>),
    /// A type around another one, which JSON does not show.
    Wrapper(NodeId),
    /// A type that has a node of its own, because it may be in several places.
    Link(NodeId),
    /// serde hides it; these are values from samples.
    Hidden(Vec<Value>),
}

/// A value without parts.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// `None` where several kinds are read.
    pub(super) kind: Option<Scalar>,
    candidates: Vec<Value>,
    /// Which candidate is tried now.
    at: usize,
    /// Whether a whole run went well with it.
    settled: bool,
    pub(super) accepted: Vec<Value>,
    /// Whether a value of its kind was refused.
    pub(super) refused: bool,
    /// Values that are still to be tried.
    probes: Vec<Value>,
    /// Whether a sample had a value here.
    is_shown: bool,
}

#[derive(Clone, Debug)]
pub(super) struct FieldNode {
    pub(super) name: &'static str,
    pub(super) node: NodeId,
    /// Whether a value without it is refused; `None` where that was not tried.
    pub(super) required: Option<bool>,
    /// Another name for a field that is there as well.
    pub(super) is_alias: bool,
}

#[derive(Clone, Debug)]
pub(super) struct VariantNode {
    pub(super) name: &'static str,
    pub(super) node: NodeId,
    /// Whether it holds nothing at all.
    pub(super) is_unit: bool,
    explored: bool,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reads a sample.
    Given,
    /// Reads made-up values until every variant was taken.
    MadeUp,
    /// Changes one thing at a time and sees whether it is refused.
    Probing,
}

#[derive(Clone, Debug)]
enum Experiment {
    /// Gives a leaf another value, at a place.
    Value(NodeId, Value, String),
    LeaveOut(NodeId, usize),
}

/// One run.
#[derive(Debug)]
struct Run {
    phase: Phase,
    /// Leaves in the order in which they were read.
    leaves: Vec<NodeId>,
    variants: Vec<(NodeId, usize)>,
    /// The objects, enums and wrappers that are being read, outermost first.
    around: Vec<NodeId>,
    /// The variants that are being read.
    variants_around: Vec<(NodeId, usize)>,
    path: Vec<String>,
    /// Where the first refusal came up: how many leaves were read before, and the place.
    blame: Option<(usize, String)>,
    experiment: Option<Experiment>,
    /// Whether a part turned out to be another one than it seemed.
    new_look: bool,
    hidden: Option<String>,
    progress: bool,
}

#[derive(Debug)]
pub(super) struct Learned {
    nodes: Vec<Node>,
    /// Types that have a node of their own.
    identities: HashMap<String, NodeId>,
    texts: Vec<String>,
    /// What was said first against each place.
    refusals: HashMap<String, String>,
    /// Leaves of several kinds, read by code of their own, that take values with parts, too.
    with_parts: Vec<(NodeId, String)>,
    run: Run,
}

impl Run {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            leaves: Vec::new(),
            variants: Vec::new(),
            around: Vec::new(),
            variants_around: Vec::new(),
            path: Vec::new(),
            blame: None,
            experiment: None,
            new_look: false,
            hidden: None,
            progress: false,
        }
    }
}

impl Learned {
    pub(super) fn new(texts: &[String]) -> Self {
        Self {
            nodes: vec![Node::Unseen],
            identities: HashMap::new(),
            texts: texts.to_vec(),
            refusals: HashMap::new(),
            with_parts: Vec::new(),
            run: Run::new(Phase::Given),
        }
    }

    pub(super) fn begin(&mut self, phase: Phase) {
        self.run = Run::new(phase);
    }

    pub(super) fn phase(&self) -> Phase {
        self.run.phase
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        match self.nodes.get(id.0) {
            Some(Node::Link(to)) => self.node(*to),
            Some(node) => node,
            None => &Node::Unseen,
        }
    }

    /// The node that `id` stands for.
    pub(super) fn target(&self, id: NodeId) -> NodeId {
        match self.nodes.get(id.0) {
            Some(Node::Link(to)) => self.target(*to),
            _ => id,
        }
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        let target = self.target(id);
        self.nodes.get_mut(target.0)
    }

    fn new_node(&mut self) -> NodeId {
        self.nodes.push(Node::Unseen);
        NodeId(self.nodes.len() - 1)
    }

    /// Makes `id` stand for the type of this identity.
    pub(super) fn link(&mut self, id: NodeId, identity: String) -> Result<NodeId, Refusal> {
        let target = match self.identities.get(&identity) {
            Some(target) => *target,
            None => {
                let target = self.new_node();
                self.identities.insert(identity, target);
                target
            }
        };
        match self.nodes.get(id.0) {
            Some(Node::Link(to)) if *to == target => Ok(target),
            Some(Node::Unseen) | None => {
                if let Some(node) = self.nodes.get_mut(id.0) {
                    *node = Node::Link(target);
                }
                self.run.progress = true;
                Ok(target)
            }
            // A sample of what is hidden is read as a whole.
            Some(Node::Hidden(_)) => Ok(id),
            Some(_) => Err(self.hide_around(id)),
        }
    }

    /// Says what a part is; what it turned out to be in another run has to be the same.
    pub(super) fn claim<T>(
        &mut self,
        id: NodeId,
        known: impl Fn(&Node) -> Option<T>,
        make: impl FnOnce(&mut Self) -> Node,
    ) -> Result<T, Refusal> {
        if matches!(self.node(id), Node::Unseen) {
            let made = make(self);
            if let Some(node) = self.node_mut(id) {
                *node = made;
            }
            self.run.progress = true;
        }
        match known(self.node(id)) {
            Some(known) => Ok(known),
            None => Err(self.hide_around(id)),
        }
    }

    pub(super) fn child(&mut self) -> NodeId {
        self.new_node()
    }

    /// What is read here depends on what was read before: the object around it is hidden.
    fn hide_around(&mut self, id: NodeId) -> Refusal {
        let hidden = self.run.around.last().copied().unwrap_or(id);
        self.hide(hidden)
    }

    /// serde hides how this part is read.
    pub(super) fn hide(&mut self, id: NodeId) -> Refusal {
        if let Some(node) = self.node_mut(id)
            && !matches!(node, Node::Hidden(_))
        {
            *node = Node::Hidden(Vec::new());
            self.run.new_look = true;
        }
        Refusal::new("it is read in another way than it seemed")
    }

    /// The value to read where serde hides how.
    pub(super) fn hidden_value(
        &mut self,
        id: NodeId,
        given: Option<&Value>,
    ) -> Result<Option<Value>, Refusal> {
        let here = self.run.path.clone();
        let Some(Node::Hidden(seen)) = self.node_mut(id) else {
            return Ok(None);
        };
        if let Some(given) = given {
            if !seen.contains(given) {
                seen.push(given.clone());
            }
            return Ok(Some(given.clone()));
        }
        if let Some(value) = seen.first() {
            return Ok(Some(value.clone()));
        }
        self.run.hidden.get_or_insert(place(&here));
        Err(Refusal::new("serde hides how it is read"))
    }

    // Leaves.

    /// The value for a leaf.
    pub(super) fn leaf(
        &mut self,
        id: NodeId,
        kind: Option<Scalar>,
        given: Option<&Value>,
    ) -> Result<Value, Refusal> {
        self.claim(
            id,
            |node| match node {
                Node::Leaf(leaf) if leaf.kind == kind => Some(()),
                _ => None,
            },
            |learned| Node::Leaf(Leaf::new(kind, &learned.texts)),
        )?;
        let is_first = !self.run.leaves.contains(&id);
        self.run.leaves.push(id);
        let may_probe =
            self.run.phase == Phase::Probing && self.run.experiment.is_none() && is_first;
        let here = place(&self.run.path);
        let Some(Node::Leaf(leaf)) = self.node_mut(id) else {
            return Err(Refusal::new("it is no leaf"));
        };
        if let Some(given) = given {
            leaf.accept(given.clone());
            leaf.is_shown = true;
            return Ok(given.clone());
        }
        if may_probe && let Some(probe) = leaf.probes.pop() {
            self.run.experiment = Some(Experiment::Value(id, probe.clone(), here));
            return Ok(probe);
        }
        let value = match leaf.settled {
            true => leaf.accepted.first(),
            false => leaf.candidates.get(leaf.at),
        };
        value
            .cloned()
            .ok_or_else(|| Refusal::new("nothing is left to try"))
    }

    // Objects and enums.

    /// Whether the part is being read already, so that what is inside it has to come to an end.
    pub(super) fn is_around(&self, id: NodeId) -> bool {
        self.run.around.contains(&id)
    }

    pub(super) fn enter(&mut self, id: NodeId) -> Result<(), Refusal> {
        /// A type that goes on inside itself without end.
        const MOST_DEPTH: usize = 64;
        self.run.around.push(id);
        match self.run.around.len() > MOST_DEPTH {
            true => Err(Refusal::new("it goes on inside itself without an end")),
            false => Ok(()),
        }
    }

    pub(super) fn leave(&mut self) {
        self.run.around.pop();
    }

    /// The field to leave out of an object in this run.
    pub(super) fn field_to_leave_out(&mut self, id: NodeId) -> Option<usize> {
        if self.run.phase != Phase::Probing || self.run.experiment.is_some() {
            return None;
        }
        let Node::Object(fields) = self.node(id) else {
            return None;
        };
        let index = fields
            .iter()
            .position(|field| !field.is_alias && field.required.is_none())?;
        self.run.experiment = Some(Experiment::LeaveOut(id, index));
        Some(index)
    }

    /// A field was given twice: `last` was read last, `name` is what serde calls the field.
    pub(super) fn duplicate(&mut self, id: NodeId, last: &str, name: &str) {
        if self.run.new_look {
            return;
        }
        self.run.new_look = true;
        let Some(Node::Object(fields)) = self.node_mut(id) else {
            return;
        };
        if last != name {
            for field in fields.iter_mut().filter(|field| field.name == last) {
                field.is_alias = true;
            }
            return;
        }
        // With its own name first, whatever comes second is the alias.
        if let Some(own) = fields.iter().position(|field| field.name == name) {
            let own = fields.remove(own);
            fields.insert(0, own);
        }
    }

    pub(super) fn enter_variant(&mut self, id: NodeId, index: usize) {
        self.run.variants.push((id, index));
        self.run.variants_around.push((id, index));
    }

    pub(super) fn leave_variant(&mut self) {
        self.run.variants_around.pop();
    }

    pub(super) fn set_unit(&mut self, id: NodeId, index: usize) {
        if let Some(Node::Enum(variants)) = self.node_mut(id)
            && let Some(variant) = variants.get_mut(index)
        {
            variant.is_unit = true;
        }
    }

    /// The variant to take in this run. `finishing`: the one that comes to an end.
    pub(super) fn choose_variant(&self, id: NodeId, finishing: bool) -> Result<usize, Refusal> {
        let Node::Enum(variants) = self.node(id) else {
            return Err(Refusal::new("it is no enum"));
        };
        let is_active = |index| self.run.variants_around.contains(&(id, index));
        let ends = |variant: &VariantNode| {
            variant.explored && !self.reaches_around(variant.node, id, &mut Vec::new())
        };
        let position = |wanted: &dyn Fn(usize, &VariantNode) -> bool| {
            let mut indexed = variants.iter().enumerate();
            indexed.position(|(index, variant)| wanted(index, variant))
        };
        let ending = || position(&|_, variant| ends(variant));
        let chosen = if finishing {
            ending()
                .or_else(|| position(&|index, variant| !variant.explored && !is_active(index)))
                .or_else(|| position(&|index, _| !is_active(index)))
        } else {
            let due = |_: usize, variant: &VariantNode| {
                let is_unexplored = self.run.phase != Phase::Probing && !variant.explored;
                let may_hold = !variant.is_unit;
                is_unexplored || may_hold && self.is_due(variant.node, &mut vec![id])
            };
            position(&due).or_else(ending).or(Some(0))
        };
        chosen
            .filter(|index| *index < variants.len())
            .ok_or_else(|| Refusal::new("it goes on inside itself without an end"))
    }

    /// Whether a part contains the enum `id` or anything that is being read.
    fn reaches_around(&self, part: NodeId, id: NodeId, seen: &mut Vec<NodeId>) -> bool {
        let part = self.target(part);
        if part == id || self.run.around.contains(&part) {
            return true;
        }
        if seen.contains(&part) {
            return false;
        }
        seen.push(part);
        self.parts(part)
            .into_iter()
            .any(|inner| self.reaches_around(inner, id, seen))
    }

    /// Whether there is something left to find out in a part, that can be reached from here.
    fn is_due(&self, part: NodeId, seen: &mut Vec<NodeId>) -> bool {
        let part = self.target(part);
        if seen.contains(&part) || self.run.around.contains(&part) {
            return false;
        }
        seen.push(part);
        let is_due = match (self.run.phase, self.node(part)) {
            (Phase::Probing, Node::Leaf(leaf)) => !leaf.probes.is_empty(),
            (Phase::Probing, Node::Object(fields)) => fields
                .iter()
                .any(|field| !field.is_alias && field.required.is_none()),
            (Phase::Probing, _) => false,
            (_, Node::Unseen) => true,
            (_, Node::Enum(variants)) => variants.iter().any(|variant| !variant.explored),
            _ => false,
        };
        is_due
            || self
                .parts(part)
                .into_iter()
                .any(|inner| self.is_due(inner, seen))
    }

    fn parts(&self, id: NodeId) -> Vec<NodeId> {
        match self.node(id) {
            Node::Option(inner) | Node::List(inner) | Node::Wrapper(inner) => vec![*inner],
            Node::Tuple(parts) => parts.clone(),
            Node::Map(key, value) => vec![*key, *value],
            Node::Object(fields) => fields
                .iter()
                .filter(|field| !field.is_alias)
                .map(|field| field.node)
                .collect(),
            Node::Enum(variants) => variants
                .iter()
                .filter(|variant| !variant.is_unit)
                .map(|variant| variant.node)
                .collect(),
            _ => Vec::new(),
        }
    }

    // Places and refusals.

    pub(super) fn step_in(&mut self, step: impl Into<String>) -> usize {
        self.run.path.push(step.into());
        self.run.leaves.len()
    }

    pub(super) fn step_out(&mut self, leaves_before: usize, refused: bool) {
        if refused && self.run.blame.is_none() {
            self.run.blame = Some((leaves_before, place(&self.run.path)));
        }
        self.run.path.pop();
    }

    /// Where the run was refused.
    pub(super) fn place(&self) -> String {
        match &self.run.blame {
            Some((_, place)) => place.clone(),
            None => place(&[]),
        }
    }

    pub(super) fn takes_a_new_look(&mut self) -> bool {
        std::mem::take(&mut self.run.new_look)
    }

    pub(super) fn hidden(&self) -> Option<String> {
        self.run.hidden.clone()
    }

    /// A place where code of the type's own reads parts that nobody showed. What takes any value has
    /// no parts of its own.
    pub(super) fn unseen_parts(&self) -> Option<&str> {
        let unseen = self
            .with_parts
            .iter()
            .find(|(id, _)| matches!(self.node(*id), Node::Leaf(leaf) if leaf.refused));
        unseen.map(|(_, place)| place.as_str())
    }

    // After a run.

    /// The run went well: what it read is accepted. Whether it showed anything new.
    pub(super) fn settle(&mut self) -> bool {
        let mut progress = self.run.progress;
        for id in std::mem::take(&mut self.run.leaves) {
            if let Some(Node::Leaf(leaf)) = self.node_mut(id)
                && !leaf.settled
                && let Some(value) = leaf.candidates.get(leaf.at).cloned()
            {
                leaf.accept(value);
            }
        }
        for (id, index) in std::mem::take(&mut self.run.variants) {
            if let Some(Node::Enum(variants)) = self.node_mut(id)
                && let Some(variant) = variants.get_mut(index)
            {
                progress |= !variant.explored;
                variant.explored = true;
            }
        }
        progress
    }

    /// The run was refused: chooses other values for the leaves that may be the reason, the last
    /// one first. `false` if nothing is left to try.
    pub(super) fn try_another(&mut self, refusal: &Refusal) -> bool {
        let place = self.place();
        self.refusals
            .entry(place)
            .or_insert_with(|| refusal.to_string());
        let first = self.run.blame.as_ref().map_or(0, |(first, _)| *first);
        let mut suspects = self.run.leaves.split_off(first.min(self.run.leaves.len()));
        while let Some(id) = suspects.pop() {
            if suspects.contains(&id) {
                continue;
            }
            let Some(Node::Leaf(leaf)) = self.node_mut(id) else {
                continue;
            };
            if leaf.settled {
                continue;
            }
            leaf.at += 1;
            if leaf.at < leaf.candidates.len() {
                return true;
            }
            leaf.at = 0;
        }
        false
    }

    /// The place that was refused, and what was said first against it.
    pub(super) fn first_refusal(&self, last: &Refusal) -> (String, String) {
        let place = self.place();
        let refusal = self.refusals.get(&place).cloned();
        (place, refusal.unwrap_or_else(|| last.to_string()))
    }

    /// Notes what an experiment showed. `false` if the run had none: nothing is left to find out.
    pub(super) fn conclude(&mut self, refusal: Option<&Refusal>) -> bool {
        let accepted = refusal.is_none();
        match self.run.experiment.take() {
            None => return false,
            Some(Experiment::Value(id, value, place)) => {
                let Some(Node::Leaf(leaf)) = self.node_mut(id) else {
                    return true;
                };
                let is_part_of_more = match (&value, refusal) {
                    (Value::Object(_), Some(refusal)) => refusal.is_missing,
                    (Value::Object(_) | Value::Array(_), None) => true,
                    _ => false,
                };
                match accepted {
                    true => leaf.accept(value),
                    false => leaf.refused = true,
                }
                if is_part_of_more && leaf.kind.is_none() && !leaf.is_shown {
                    self.with_parts.push((id, place));
                }
            }
            Some(Experiment::LeaveOut(id, index)) => {
                if let Some(Node::Object(fields)) = self.node_mut(id)
                    && let Some(field) = fields.get_mut(index)
                {
                    field.required = Some(!accepted);
                }
            }
        }
        true
    }
}

impl Leaf {
    fn new(kind: Option<Scalar>, texts: &[String]) -> Self {
        Self {
            kind,
            candidates: made_up::candidates(kind, texts),
            at: 0,
            settled: false,
            accepted: Vec::new(),
            refused: false,
            probes: made_up::probes(kind),
            is_shown: false,
        }
    }

    fn accept(&mut self, value: Value) {
        self.settled = true;
        self.probes.retain(|probe| *probe != value);
        if !self.accepted.contains(&value) {
            self.accepted.push(value);
        }
    }
}

impl VariantNode {
    pub(super) fn new(name: &'static str, node: NodeId) -> Self {
        Self {
            name,
            node,
            is_unit: false,
            explored: false,
        }
    }
}

/// A place as people write it.
fn place(path: &[String]) -> String {
    if path.is_empty() {
        return "the whole".to_owned();
    }
    path.join(".").replace(".[", "[")
}
