//! Which functions to watch so that no others can call one another for ever.
//!
//! In a call graph, each cycle must contain one of them: a feedback vertex set. The smallest is hard to find; a good one
//! takes, from each group of functions that can all reach each other, the one that most calls meet in, until no such group
//! is left.

/// Marks a feedback vertex set of the graph in which each node has edges to `next`.
pub(super) fn breakers(next: &[Vec<usize>]) -> Vec<bool> {
    let mut search = CycleSearch {
        next,
        part: vec![0; next.len()],
        parts: 0,
    };
    let mut breakers = vec![false; next.len()];
    let mut groups = search.groups(&(0..next.len()).collect::<Vec<_>>());
    while let Some(mut group) = groups.pop() {
        let most = search.busiest(&group);
        breakers[most] = true;
        group.retain(|node| *node != most);
        groups.extend(search.groups(&group));
    }
    breakers
}

struct CycleSearch<'a> {
    next: &'a [Vec<usize>],
    /// The part of the graph that each node was last seen in: edges to other parts do not count.
    part: Vec<u32>,
    parts: u32,
}

/// What Tarjan's search knows of a node.
#[derive(Clone, Copy, Default)]
struct TarjanState {
    /// Its number in the order of discovery, from 1; 0 before.
    number: usize,
    /// The lowest number that it reaches within its group.
    lowest: usize,
    grouped: bool,
}

impl CycleSearch<'_> {
    /// The groups of nodes of a part that reach each other, or themselves.
    fn groups(&mut self, part: &[usize]) -> Vec<Vec<usize>> {
        self.enter(part);
        let mut seen: std::collections::HashMap<usize, TarjanState> = part
            .iter()
            .map(|node| (*node, TarjanState::default()))
            .collect();
        let mut groups = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut count = 0;
        for root in part {
            if seen[root].number > 0 {
                continue;
            }
            // Nodes on the way, each with the place of the edge to be followed next.
            let mut way = vec![(*root, 0)];
            while let Some((node, edge)) = way.last_mut() {
                let node = *node;
                if *edge == 0 {
                    count += 1;
                    open.push(node);
                    seen.insert(
                        node,
                        TarjanState {
                            number: count,
                            lowest: count,
                            grouped: false,
                        },
                    );
                }
                let following = self.next[node].get(*edge).copied();
                *edge += 1;
                match following {
                    Some(to) if self.part[to] != self.parts => {}
                    Some(to) if seen[&to].number == 0 => way.push((to, 0)),
                    Some(to) => lower(&mut seen, node, to),
                    None => {
                        way.pop();
                        if let Some((before, _)) = way.last() {
                            lower(&mut seen, *before, node);
                        }
                        if seen[&node].lowest == seen[&node].number {
                            groups.extend(self.close(node, &mut open, &mut seen));
                        }
                    }
                }
            }
        }
        groups
    }

    /// Takes a whole group from the open nodes; none if it is one node that does not reach itself.
    fn close(
        &self,
        first: usize,
        open: &mut Vec<usize>,
        seen: &mut std::collections::HashMap<usize, TarjanState>,
    ) -> Option<Vec<usize>> {
        let start = open.iter().rposition(|node| *node == first).unwrap_or(0);
        let group = open.split_off(start);
        for node in &group {
            seen.entry(*node).or_default().grouped = true;
        }
        (group.len() > 1 || self.next[first].contains(&first)).then_some(group)
    }

    /// The node of a group that most pairs of its edges meet in.
    fn busiest(&mut self, group: &[usize]) -> usize {
        self.enter(group);
        let mut into: std::collections::HashMap<usize, usize> = std::collections::HashMap::new();
        for node in group {
            for to in self.inside(*node) {
                *into.entry(to).or_default() += 1;
            }
        }
        let meet = |node: &&usize| {
            let out = self.inside(**node).count();
            // A function that calls itself must be watched in any case.
            let itself = self.next[**node].contains(*node);
            (itself, into.get(*node).map_or(0, |count| count * out))
        };
        group.iter().max_by_key(meet).copied().unwrap_or_default()
    }

    fn inside(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let edges = self.next[node].iter().copied();
        edges.filter(|to| self.part[*to] == self.parts)
    }

    fn enter(&mut self, part: &[usize]) {
        self.parts += 1;
        for node in part {
            self.part[*node] = self.parts;
        }
    }
}

/// Notes that `node` reaches what `to` reaches, unless that is a group of its own already.
fn lower(seen: &mut std::collections::HashMap<usize, TarjanState>, node: usize, to: usize) {
    let reached = seen[&to];
    if !reached.grouped
        && let Some(known) = seen.get_mut(&node)
    {
        known.lowest = known.lowest.min(reached.lowest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has_cycle(next: &[Vec<usize>], without: &[bool]) -> bool {
        // Takes nodes away that nothing leads to; what is left has a cycle.
        let mut into = vec![0; next.len()];
        let kept = |node: &usize| !without[*node];
        for node in (0..next.len()).filter(kept) {
            for to in next[node].iter().filter(|to| kept(to)) {
                into[*to] += 1;
            }
        }
        let mut free: Vec<usize> = (0..next.len())
            .filter(kept)
            .filter(|n| into[*n] == 0)
            .collect();
        let mut left = (0..next.len()).filter(kept).count();
        while let Some(node) = free.pop() {
            left -= 1;
            for to in next[node].iter().filter(|to| kept(to)) {
                into[*to] -= 1;
                if into[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        left > 0
    }

    #[test]
    fn what_calls_only_others_is_not_watched() {
        let next = vec![vec![1, 2], vec![2], vec![], vec![3], vec![5], vec![4, 0]];
        let found = breakers(&next);
        assert_eq!(found[..3], [false; 3]);
        assert!(found[3], "it calls itself");
        assert_eq!(found[4..].iter().filter(|watched| **watched).count(), 1);
    }

    proptest! {
        #[test]
        fn no_cycle_is_left(edges in prop::collection::vec((0..20_usize, 0..20_usize), 0..80)) {
            let mut next = vec![Vec::new(); 20];
            for (from, to) in edges {
                next[from].push(to);
            }
            prop_assert!(!has_cycle(&next, &breakers(&next)));
        }
    }
}
