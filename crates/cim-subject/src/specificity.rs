//! A total order of patterns that never puts a narrower pattern before a wider one.
//!
//! Being narrower is only a partial order (`a.*` and `*.b` are incomparable), but routes must be
//! tried in an order that does not depend on chance. The key completes it deterministically.

use std::cmp::Ordering;

use crate::SubjectPattern;

/// The key by which routes sort: greater is more specific.
///
/// Compares the two patterns token by token from the left: a literal is greater than `*`, and `*`
/// than `>`; at the first place where the kinds differ the greater kind decides. If one pattern
/// ends first, the longer is greater. Patterns with the same kinds everywhere order by their bytes,
/// so that two keys are equal only if the patterns are.
///
/// The order agrees with
/// [`partial_cmp_specificity`](SubjectPattern::partial_cmp_specificity). Let `a` match a strict
/// subset of `b`. As long as the kinds are the same, the literals are, too; and where `b` has a
/// literal, `a` has it. So at the first place where the kinds differ `a` has the greater one. There
/// is such a place, or else both would match the same subjects. (A `>` that the limit of 255 bytes
/// makes a `*` in effect changes nothing: it is the last token, and if the first difference is
/// there, both match the same subjects.)
///
/// ```
/// use cim_subject::SubjectPattern;
///
/// let literal_first = SubjectPattern::new("orders.*")?.specificity();
/// let wildcard_first = SubjectPattern::new("*.42")?.specificity();
/// assert!(literal_first > wildcard_first);
/// assert!(wildcard_first > SubjectPattern::all().specificity());
/// # Ok::<(), cim_subject::SubjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Specificity(SubjectPattern);

impl Specificity {
    pub(crate) fn new(pattern: SubjectPattern) -> Self {
        Self(pattern)
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.tokens().map(|token| match token {
            ">" => Kind::Rest,
            "*" => Kind::One,
            _ => Kind::Literal,
        })
    }
}

/// What a token stands for, the widest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Rest,
    One,
    Literal,
}

impl Ord for Specificity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.kinds()
            .cmp(other.kinds())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Specificity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
