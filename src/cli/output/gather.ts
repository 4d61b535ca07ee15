/** Collects the values of an option that may be repeated, for commander. */
export function gather(value: string, all: readonly string[]): string[] {
  return [...all, value];
}
