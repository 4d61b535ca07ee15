/** The output of docker's inspect commands (docker/cli cli/command/inspect/inspector.go). */
import { goJson } from '../go-template/json.js';
import { Nil, TemplateError, typed } from '../go-template/template.js';
import { kindOf } from '../go-template/values.js';
import { fieldError, parseFormat } from './list.js';

export interface Inspector {
  /** Raises EFIELD where a template does not fit; the other objects are printed all the same. */
  add(object: object): void;
  /** What is to be printed for all that was added. */
  output(): string;
}

/**
 * `format` is what `--format` was given: nothing for indented JSON, `json` for one line, or a template. A template that finds no field in an object
 * gets its JSON instead, in which a missing key is an error. Raises ETEMPLATE.
 */
export function createInspector(format?: string): Inspector {
  if (format === undefined || format === '' || format === 'json') {
    const objects: unknown[] = [];
    const indent = format === 'json' ? '' : '    ';
    return {
      add: (object) => void objects.push(asStruct(object)),
      output: () => `${goJson(objects, { escapeHtml: false, indent })}\n`,
    };
  }
  const template = parseFormat(format);
  let output = '';
  const execute = (object: object): string => {
    try {
      return template.execute(asStruct(object));
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      return template.execute(JSON.parse(goJson(object)), { missingKey: 'error' });
    }
  };
  return {
    add(object) {
      try {
        output += `${execute(object)}\n`;
      } catch (error) {
        throw fieldError(error);
      }
    },
    output: () => output || '\n',
  };
}

/** Types of docker's fields that are no structs (moby api/types/image, api/types/container; image-spec config.md). */
const TYPES: Readonly<Record<string, string>> = {
  Labels: 'map[string]string',
  Annotations: 'map[string]string',
  Data: 'map[string]string',
  ExposedPorts: 'map[string]struct {}',
  Volumes: 'map[string]struct {}',
  Args: '[]string',
  Cmd: '[]string',
  Entrypoint: '[]string',
  Env: '[]string',
  Layers: '[]string',
  OnBuild: '[]string',
  RepoDigests: '[]string',
  RepoTags: '[]string',
  Shell: '[]string',
  Test: '[]string',
};

/** An object from JSON with the types that docker's has: structs, but for the fields above. */
function asStruct(value: unknown, type = 'struct {}'): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => asStruct(item));
    return type.startsWith('[]') ? typed(type, items) : items;
  }
  if (typeof value !== 'object' || value === null || value instanceof Nil) return value;
  // Its maker has said what it is, and perhaps what its JSON leaves out.
  if (kindOf(value) === 'struct') return value;
  const entries = Object.entries(value as object).filter(([, field]) => field !== undefined);
  if (type.startsWith('map['))
    return typed(type, Object.fromEntries(entries.map(([key, item]) => [key, asStruct(item)])));
  const fields = entries.map(([name, field]) => {
    const known = TYPES[name];
    return [name, field === null && known !== undefined ? new Nil(known) : asStruct(field, known)];
  });
  return typed(type, Object.fromEntries(fields) as object);
}

/** A struct for templates, whose JSON leaves out those of `omitted` that are empty (Go's omitempty). */
export function goStruct(type: string, fields: object, omitted: readonly string[] = []): object {
  const shown = asStruct(fields, type) as Record<string, unknown>;
  const toJSON = (): object =>
    typed(
      type,
      Object.fromEntries(
        Object.entries(shown).filter(([name, value]) => !omitted.includes(name) || !isEmpty(value)),
      ),
    );
  return Object.defineProperty(shown, 'toJSON', { value: toJSON, configurable: true });
}

function isEmpty(value: unknown): boolean {
  if (value === '' || value === 0 || value === false || value === null || value instanceof Nil) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
