//! Feedback vertex sets of call graphs: functions without which the graph has no cycle.
//!
//! Recursion without end passes through a function of the set again and again, so a check at the start of each of them
//! interrupts it. Finding the smallest set is NP-hard. This heuristic removes from each strongly connected component
//! the function in which most pairs of calls meet, until no component with a cycle is left.

/// Marks the nodes of cycles in the graph in which `next` lists the successors of each node.
pub(crate) fn cyclic(next: &[Vec<usize>]) -> Vec<bool> {
    let mut search = CycleSearch {
        next,
        subgraph: vec![0; next.len()],
        subgraphs: 0,
    };
    let mut found = vec![false; next.len()];
    for component in search.components(&(0..next.len()).collect::<Vec<_>>()) {
        for node in component {
            found[node] = true;
        }
    }
    found
}

/// Marks a feedback vertex set of the graph in which `next` lists the successors of each node.
pub(crate) fn feedback_vertex_set(next: &[Vec<usize>]) -> Vec<bool> {
    let mut search = CycleSearch {
        next,
        subgraph: vec![0; next.len()],
        subgraphs: 0,
    };
    let mut chosen = vec![false; next.len()];
    let mut components = search.components(&(0..next.len()).collect::<Vec<_>>());
    while let Some(mut component) = components.pop() {
        let most = search.busiest(&component);
        chosen[most] = true;
        component.retain(|node| *node != most);
        components.extend(search.components(&component));
    }
    chosen
}

struct CycleSearch<'a> {
    next: &'a [Vec<usize>],
    /// Subgraph that each node was last entered in; the search ignores edges to other subgraphs.
    subgraph: Vec<u32>,
    subgraphs: u32,
}

/// State of a node in Tarjan's algorithm for strongly connected components.
#[derive(Clone, Copy, Default)]
struct TarjanState {
    /// Number in the order of discovery, from 1; 0 before the discovery.
    number: usize,
    /// Lowest number that is reachable within the component.
    lowest: usize,
    complete: bool,
}

impl CycleSearch<'_> {
    /// Finds the strongly connected components of a subgraph that contain a cycle.
    fn components(&mut self, nodes: &[usize]) -> Vec<Vec<usize>> {
        self.enter(nodes);
        let mut seen: std::collections::HashMap<usize, TarjanState> = nodes
            .iter()
            .map(|node| (*node, TarjanState::default()))
            .collect();
        let mut components = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut count = 0;
        for root in nodes {
            if seen[root].number > 0 {
                continue;
            }
            // Nodes on the current path, each with the index of the edge to follow next.
            let mut path = vec![(*root, 0)];
            while let Some((node, edge)) = path.last_mut() {
                let node = *node;
                if *edge == 0 {
                    count += 1;
                    open.push(node);
                    seen.insert(
                        node,
                        TarjanState {
                            number: count,
                            lowest: count,
                            complete: false,
                        },
                    );
                }
                let following = self.next[node].get(*edge).copied();
                *edge += 1;
                match following {
                    Some(to) if self.subgraph[to] != self.subgraphs => {}
                    Some(to) if seen[&to].number == 0 => path.push((to, 0)),
                    Some(to) => lower(&mut seen, node, to),
                    None => {
                        path.pop();
                        if let Some((before, _)) = path.last() {
                            lower(&mut seen, *before, node);
                        }
                        if seen[&node].lowest == seen[&node].number {
                            components.extend(self.close(node, &mut open, &mut seen));
                        }
                    }
                }
            }
        }
        components
    }

    /// Removes a complete component from the open nodes; returns `None` for a single node without an edge to itself.
    fn close(
        &self,
        first: usize,
        open: &mut Vec<usize>,
        seen: &mut std::collections::HashMap<usize, TarjanState>,
    ) -> Option<Vec<usize>> {
        let start = open.iter().rposition(|node| *node == first).unwrap_or(0);
        let component = open.split_off(start);
        for node in &component {
            seen.entry(*node).or_default().complete = true;
        }
        (component.len() > 1 || self.next[first].contains(&first)).then_some(component)
    }

    /// Returns the node of a component with the most pairs of an incoming and an outgoing edge.
    fn busiest(&mut self, component: &[usize]) -> usize {
        self.enter(component);
        let mut into: std::collections::HashMap<usize, usize> = std::collections::HashMap::new();
        for node in component {
            for to in self.inside(*node) {
                *into.entry(to).or_default() += 1;
            }
        }
        let meet = |node: &&usize| {
            let out = self.inside(**node).count();
            // A function that calls itself belongs to every feedback vertex set.
            let itself = self.next[**node].contains(*node);
            (itself, into.get(*node).map_or(0, |count| count * out))
        };
        component
            .iter()
            .max_by_key(meet)
            .copied()
            .unwrap_or_default()
    }

    fn inside(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let edges = self.next[node].iter().copied();
        edges.filter(|to| self.subgraph[*to] == self.subgraphs)
    }

    fn enter(&mut self, nodes: &[usize]) {
        self.subgraphs += 1;
        for node in nodes {
            self.subgraph[*node] = self.subgraphs;
        }
    }
}

/// Lowers the lowest number that `node` reaches to that of `to`, unless the component of `to` is complete.
fn lower(seen: &mut std::collections::HashMap<usize, TarjanState>, node: usize, to: usize) {
    let reached = seen[&to];
    if !reached.complete
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
        // Removes nodes without incoming edges until none is left; the remaining ones have a cycle.
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
    fn cyclic_marks_the_nodes_of_cycles_only() {
        let next = vec![vec![1, 2], vec![2], vec![], vec![3], vec![5], vec![4, 0]];
        assert_eq!(cyclic(&next), [false, false, false, true, true, true]);
    }

    #[test]
    fn functions_outside_of_cycles_are_not_chosen() {
        let next = vec![vec![1, 2], vec![2], vec![], vec![3], vec![5], vec![4, 0]];
        let found = feedback_vertex_set(&next);
        assert_eq!(found[..3], [false; 3]);
        assert!(found[3], "recursive function");
        assert_eq!(found[4..].iter().filter(|chosen| **chosen).count(), 1);
    }

    proptest! {
        #[test]
        fn graph_without_the_chosen_nodes_has_no_cycle(edges in prop::collection::vec((0..20_usize, 0..20_usize), 0..80)) {
            let mut next = vec![Vec::new(); 20];
            for (from, to) in edges {
                next[from].push(to);
            }
            prop_assert!(!has_cycle(&next, &feedback_vertex_set(&next)));
        }
    }
}
