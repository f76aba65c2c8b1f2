/** One line of the product, broken on purpose: the test of a check must turn red. `npm run mutants` tries them. */
export interface Mutant {
  /** The number of the check in docs/scorecard.md. */
  check: number;
  /** What is broken, in words. */
  breaks: string;
  /** From the root of the project. */
  file: string;
  /** As it stands, once in the file; it may be several lines. */
  line: string;
  broken: string;
  /** As for `npm test`: a part of the test file's path. */
  tests: string;
  /** A pattern of the names of the tests that must turn red. */
  named: string;
}
