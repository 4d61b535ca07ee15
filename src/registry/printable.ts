/** Text from outside for a terminal: without what moves the cursor, changes colours or turns the direction of writing. */

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** One line. */
export function printable(text: string): string {
  return text.replace(CONTROLS, ' ');
}

/** JSON that says the same, with nothing in it that is not text. */
export function printableJson(json: string): string {
  return json.replace(CONTROLS, (char) =>
    /[\n\t]/.test(char) ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
