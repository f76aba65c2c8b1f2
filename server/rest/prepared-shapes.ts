/**
 * Which statements to prepare: the first so many. Each stays in the memory of every connection, and clients
 * choose what statements there are; the rest are as right, and a round trip slower.
 */
export function createPreparedShapes(most: number, longest = 4_000): (text: string) => boolean {
  const prepared = new Set<string>();
  return (text) => {
    if (prepared.has(text)) return true;
    if (prepared.size >= most || text.length > longest) return false;
    prepared.add(text);
    return true;
  };
}
