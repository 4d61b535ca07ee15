/** Where the portable driver writes down what it has half done (undo.ts); known apart from it, because every mount asks whether it is there. */
export function undoFile(workDirectory: string): string {
  return `${workDirectory}/undo`;
}
