/** The simple part of docker's --format templates: text, `{{.Field.Inner}}` and `{{json .Field}}`. */
import { LaminaError } from '../errors.js';

/** One item in the words of the template. Raises EUSAGE for what it does not know. */
export function formatTemplate(template: string, item: Readonly<Record<string, unknown>>): string {
  return unescape(template).replace(/\{\{-?\s*(.*?)\s*-?\}\}/g, (_, action: string) => {
    const match = /^(json\s+)?\.(\w+(?:\.\w+)*)?$/.exec(action);
    if (match === null)
      throw new LaminaError('EUSAGE', `template parsing error: "{{${action}}}" is not supported`, {
        hint: 'Write fields as {{.Name}} or {{json .Name}}.',
      });
    const value = fieldOf(item, match[2]);
    return match[1] === undefined ? asText(value) : JSON.stringify(value);
  });
}

/** The names of the fields, for a heading. */
export function templateHeadings(template: string, headings: Readonly<Record<string, string>>): string {
  return unescape(template).replace(
    /\{\{-?\s*(?:json\s+)?\.(\w+).*?\}\}/g,
    (_, name: string) => headings[name] ?? name.toUpperCase(),
  );
}

/** As typed in a shell: `\t` and `\n` are two characters. */
function unescape(template: string): string {
  return template.trim().replaceAll('\\t', '\t').replaceAll('\\n', '\n');
}

function fieldOf(item: Readonly<Record<string, unknown>>, path: string | undefined): unknown {
  let value: unknown = item;
  for (const name of path?.split('.') ?? []) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name))
      throw new LaminaError('EUSAGE', `template: can't evaluate field ${name}`, {
        hint: `The fields are: ${Object.keys(item).join(' ')}.`,
      });
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** As Go prints lists: `[a b]`. */
function asText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asText).join(' ')}]`;
  if (typeof value === 'object' && value !== null)
    return `map[${Object.entries(value)
      .map(([key, inner]) => `${key}:${asText(inner)}`)
      .join(' ')}]`;
  return String(value);
}
