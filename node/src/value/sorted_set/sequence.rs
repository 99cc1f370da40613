//! A long sequence that can be changed anywhere: a B-tree in which every node knows how many items
//! are below it, so that an item is found by its rank as fast as by its value.

/// Items in an order that the caller keeps.
#[derive(Debug, Clone)]
pub(crate) struct Sequence<T> {
    root: Node<T>,
}

#[derive(Debug, Clone)]
enum Node<T> {
    Leaf(Vec<T>),
    Inner(Inner<T>),
}

/// The three vectors have the same length, and no child is empty.
#[derive(Debug, Clone)]
struct Inner<T> {
    children: Vec<Node<T>>,
    /// The first item below each child, so that a search need not look into it.
    firsts: Vec<T>,
    /// The number of items below each child.
    counts: Vec<usize>,
}

/// How many items a leaf has at most.
const LEAF_LEN_MAX: usize = 64;
/// How many children an inner node has at most.
const INNER_LEN_MAX: usize = 32;

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self {
            root: Node::Leaf(Vec::new()),
        }
    }
}

impl<T: Copy> Sequence<T> {
    pub(crate) fn len(&self) -> usize {
        self.root.count()
    }

    /// The number of items at the front for which `is_before` holds; it must not hold for any item
    /// behind one for which it does not.
    pub(crate) fn partition_point(&self, mut is_before: impl FnMut(&T) -> bool) -> usize {
        let mut node = &self.root;
        let mut passed = 0;
        loop {
            match node {
                Node::Leaf(items) => return passed + items.partition_point(is_before),
                Node::Inner(inner) => {
                    let child = inner
                        .firsts
                        .partition_point(&mut is_before)
                        .saturating_sub(1);
                    passed += inner.counts[..child].iter().sum::<usize>();
                    node = &inner.children[child];
                }
            }
        }
    }

    /// The item at `rank`, and those that lie directly before and behind it in memory: a slice,
    /// and the rank of its first item.
    ///
    /// # Panics
    /// When there is no such rank.
    pub(crate) fn chunk(&self, rank: usize) -> (&[T], usize) {
        let mut node = &self.root;
        let mut left = rank;
        loop {
            match node {
                Node::Leaf(items) => {
                    assert!(left < items.len(), "the rank is below the length");
                    return (items, rank - left);
                }
                Node::Inner(inner) => {
                    let child = inner.child_of_rank(&mut left);
                    node = &inner.children[child];
                }
            }
        }
    }

    /// Puts an item before the one at `rank`, which is at most the length.
    ///
    /// # Panics
    /// When the rank is greater than the length.
    pub(crate) fn insert(&mut self, rank: usize, item: T) {
        let Some(right) = self.root.insert(rank, item) else {
            return;
        };
        let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        self.root = Node::Inner(Inner::new(vec![left, right]));
    }

    /// Removes the item at `rank`.
    ///
    /// # Panics
    /// When there is no such rank.
    pub(crate) fn remove(&mut self, rank: usize) -> T {
        let item = self.root.remove(rank);
        while let Node::Inner(inner) = &mut self.root
            && inner.children.len() <= 1
        {
            self.root = inner.children.pop().unwrap_or(Node::Leaf(Vec::new()));
        }
        item
    }

    /// Puts another item in place of the one at `rank`.
    ///
    /// # Panics
    /// When there is no such rank.
    pub(crate) fn replace(&mut self, rank: usize, item: T) {
        self.root.replace(rank, item);
    }

    /// The bytes of memory held, about: nodes are on average three quarters full.
    pub(crate) fn memory(&self) -> usize {
        self.len() * size_of::<T>() * 4 / 3
    }
}

impl<T: Copy> Node<T> {
    fn count(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    fn first(&self) -> T {
        match self {
            Self::Leaf(items) => items[0],
            Self::Inner(inner) => inner.firsts[0],
        }
    }

    /// Items of a leaf, children of an inner node.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    /// The right part, when the node had to be split.
    fn insert(&mut self, rank: usize, item: T) -> Option<Self> {
        match self {
            Self::Leaf(items) if items.len() < LEAF_LEN_MAX => {
                items.insert(rank, item);
                None
            }
            // Items that arrive in their order leave full leaves behind.
            Self::Leaf(items) if rank == items.len() => Some(Self::Leaf(vec![item])),
            Self::Leaf(items) => {
                let mut right = items.split_off(LEAF_LEN_MAX / 2);
                match rank.checked_sub(items.len()) {
                    Some(rank) if rank > 0 => right.insert(rank, item),
                    _ => items.insert(rank, item),
                }
                Some(Self::Leaf(right))
            }
            Self::Inner(inner) => inner.insert(rank, item).map(Self::Inner),
        }
    }

    fn remove(&mut self, rank: usize) -> T {
        match self {
            Self::Leaf(items) => items.remove(rank),
            Self::Inner(inner) => inner.remove(rank),
        }
    }

    fn replace(&mut self, rank: usize, item: T) {
        match self {
            Self::Leaf(items) => items[rank] = item,
            Self::Inner(inner) => {
                let mut left = rank;
                let child = inner.child_of_rank(&mut left);
                inner.children[child].replace(left, item);
                inner.firsts[child] = inner.children[child].first();
            }
        }
    }

    /// Whether the node is so narrow that it should be joined with a neighbour.
    fn is_narrow(&self) -> bool {
        match self {
            Self::Leaf(items) => items.len() < LEAF_LEN_MAX / 4,
            Self::Inner(inner) => inner.children.len() < INNER_LEN_MAX / 4,
        }
    }

    fn can_take(&self, right: &Self) -> bool {
        let width_max = match self {
            Self::Leaf(_) => LEAF_LEN_MAX,
            Self::Inner(_) => INNER_LEN_MAX,
        };
        self.width() + right.width() <= width_max
    }

    /// Appends what is in the neighbour on the right, which is as high.
    fn take(&mut self, right: Self) {
        match (self, right) {
            (Self::Leaf(items), Self::Leaf(mut right)) => items.append(&mut right),
            (Self::Inner(inner), Self::Inner(mut right)) => {
                inner.children.append(&mut right.children);
                inner.firsts.append(&mut right.firsts);
                inner.counts.append(&mut right.counts);
            }
            _ => unreachable!("all leaves are equally deep"),
        }
    }
}

impl<T: Copy> Inner<T> {
    fn new(children: Vec<Node<T>>) -> Self {
        Self {
            firsts: children.iter().map(Node::first).collect(),
            counts: children.iter().map(Node::count).collect(),
            children,
        }
    }

    /// The child that has the item at `rank`; `rank` becomes the rank within the child. A rank
    /// equal to the length is in the last child.
    fn child_of_rank(&self, rank: &mut usize) -> usize {
        let last = self.counts.len() - 1;
        let mut child = 0;
        while child < last && *rank >= self.counts[child] {
            *rank -= self.counts[child];
            child += 1;
        }
        child
    }

    fn insert(&mut self, rank: usize, item: T) -> Option<Self> {
        let mut left = rank;
        let child = self.child_of_rank(&mut left);
        let right = self.children[child].insert(left, item);
        self.refresh(child);
        let right = right?;
        self.firsts.insert(child + 1, right.first());
        self.counts.insert(child + 1, right.count());
        self.children.insert(child + 1, right);
        if self.children.len() <= INNER_LEN_MAX {
            return None;
        }
        // As with leaves: what grows at its end stays full.
        let at = if child + 2 == self.children.len() {
            INNER_LEN_MAX
        } else {
            INNER_LEN_MAX / 2
        };
        Some(Self {
            children: self.children.split_off(at),
            firsts: self.firsts.split_off(at),
            counts: self.counts.split_off(at),
        })
    }

    fn remove(&mut self, rank: usize) -> T {
        let mut left = rank;
        let child = self.child_of_rank(&mut left);
        let item = self.children[child].remove(left);
        if self.children[child].width() == 0 {
            self.forget(child);
            return item;
        }
        self.refresh(child);
        if self.children[child].is_narrow() {
            self.join(child);
        }
        item
    }

    /// Joins a narrow child with a neighbour that has room.
    fn join(&mut self, child: usize) {
        let fits = |left: usize| match self.children.get(left..left + 2) {
            Some([left, right]) => left.can_take(right),
            _ => false,
        };
        let left = match child.checked_sub(1) {
            Some(left) if fits(left) => left,
            _ if fits(child) => child,
            _ => return,
        };
        let right = self.forget(left + 1);
        self.children[left].take(right);
        self.refresh(left);
    }

    /// Brings what is noted about a child up to date.
    fn refresh(&mut self, child: usize) {
        self.firsts[child] = self.children[child].first();
        self.counts[child] = self.children[child].count();
    }

    fn forget(&mut self, child: usize) -> Node<T> {
        self.firsts.remove(child);
        self.counts.remove(child);
        self.children.remove(child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Random;

    fn check_node(node: &Node<u32>, depth: usize) -> usize {
        match node {
            Node::Leaf(items) => {
                assert!(items.len() <= LEAF_LEN_MAX);
                depth
            }
            Node::Inner(inner) => {
                assert!((1..=INNER_LEN_MAX).contains(&inner.children.len()));
                assert_eq!(inner.firsts.len(), inner.children.len());
                let mut depths = Vec::new();
                for (child, node) in inner.children.iter().enumerate() {
                    assert!(node.width() > 0);
                    assert_eq!(inner.counts[child], node.count());
                    assert_eq!(inner.firsts[child], node.first());
                    depths.push(check_node(node, depth + 1));
                }
                depths.dedup();
                assert_eq!(depths.len(), 1, "all leaves are equally deep");
                depths[0]
            }
        }
    }

    /// All items, and the depth.
    fn check(sequence: &Sequence<u32>) -> (Vec<u32>, usize) {
        let depth = check_node(&sequence.root, 0);
        let mut items = Vec::new();
        while items.len() < sequence.len() {
            let (chunk, first) = sequence.chunk(items.len());
            assert_eq!(first, items.len());
            items.extend_from_slice(chunk);
        }
        (items, depth)
    }

    #[test]
    fn agrees_with_a_vector() {
        for seed in 0..8 {
            let mut random = Random::new(seed);
            let mut sequence = Sequence::default();
            let mut model = Vec::new();
            for step in 0..20_000_u32 {
                let adds = if step / 5000 % 2 == 0 { 8 } else { 2 };
                if model.is_empty() || random.below(10) < adds {
                    let rank = random.below(model.len() + 1);
                    sequence.insert(rank, step);
                    model.insert(rank, step);
                } else {
                    let rank = random.below(model.len());
                    if step % 3 == 0 {
                        sequence.replace(rank, step);
                        model[rank] = step;
                    }
                    let (chunk, first) = sequence.chunk(rank);
                    assert_eq!(chunk[rank - first], model[rank]);
                    assert_eq!(sequence.remove(rank), model.remove(rank));
                }
                if step % 500 == 0 {
                    assert_eq!(check(&sequence).0, model, "seed {seed}, step {step}");
                }
            }
            while !model.is_empty() {
                let rank = random.below(model.len());
                assert_eq!(sequence.remove(rank), model.remove(rank));
            }
            assert_eq!(check(&sequence).0, model);
        }
    }

    #[test]
    fn finds_by_value() {
        let mut random = Random::new(3);
        let mut sequence = Sequence::default();
        let mut model: Vec<u32> = Vec::new();
        for _ in 0..5000 {
            let value = random.below(2000) as u32;
            let rank = sequence.partition_point(|item| *item < value);
            assert_eq!(rank, model.partition_point(|item| *item < value));
            sequence.insert(rank, value);
            model.insert(rank, value);
        }
        for value in 0..2001 {
            let rank = sequence.partition_point(|item| *item <= value);
            assert_eq!(rank, model.partition_point(|item| *item <= value));
        }
    }

    #[test]
    fn stays_low_and_full() {
        let mut sequence = Sequence::default();
        for i in 0..100_000 {
            sequence.insert(i, i as u32);
        }
        let (items, depth) = check(&sequence);
        assert!(items.is_sorted());
        assert!(depth <= 3, "{depth}");
        while sequence.len() > 1000 {
            sequence.remove(sequence.len() / 2);
        }
        let (_, depth) = check(&sequence);
        assert!(depth <= 2, "{depth}");
        for _ in 0..1000 {
            sequence.remove(0);
        }
        assert_eq!(check(&sequence), (Vec::new(), 0));
    }
}
