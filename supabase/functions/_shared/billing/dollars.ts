/** Dollars as whole cents; undefined for what is not a whole number of cents. */
export function centsOf(dollars: number): number | undefined {
  const cents = Math.round(dollars * 100);
  // A decimal with two places is the double nearest to it, and so is this quotient: equal, or not in cents.
  return cents / 100 === dollars ? cents : undefined;
}
