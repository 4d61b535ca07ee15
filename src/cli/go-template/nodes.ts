/** The tree of a parsed template, and its text as errors show it (text/template/parse/node.go). */
import type { NumberLiteral } from './numbers.js';

interface At {
  /** Index into the template's text. */
  position: number;
}

export type Operand =
  | (At & { type: 'bool'; value: boolean })
  | (At & { type: 'dot' })
  | (At & { type: 'nil' })
  | (At & { type: 'number'; literal: NumberLiteral })
  | (At & { type: 'string'; quoted: string; text: string })
  | (At & { type: 'identifier'; name: string })
  | (At & { type: 'field'; names: string[] })
  /** `$x.A.B`: the variable's name and those of fields. */
  | (At & { type: 'variable'; names: string[] })
  | (At & { type: 'chain'; of: Operand; names: string[] })
  | Pipe;

export interface Command extends At {
  type: 'command';
  args: Operand[];
}

export interface Pipe extends At {
  type: 'pipe';
  isAssign: boolean;
  /** Variables that it declares or assigns. */
  variables: string[];
  commands: Command[];
}

export interface Branch extends At {
  type: 'if' | 'range' | 'with';
  pipe: Pipe;
  body: Node[];
  otherwise: Node[] | undefined;
}

export type Node =
  | (At & { type: 'text'; text: string })
  | (At & { type: 'action'; pipe: Pipe })
  | (At & { type: 'template'; name: string; pipe: Pipe | undefined })
  | (At & { type: 'break' | 'continue' | 'end' | 'else' })
  | Branch;

/** As Go writes a node back into text. */
export function nodeText(node: Node | Operand | Command): string {
  switch (node.type) {
    case 'text':
      return node.text;
    case 'action':
      return `{{${nodeText(node.pipe)}}}`;
    case 'template':
      return `{{template ${JSON.stringify(node.name)}${node.pipe === undefined ? '' : ` ${nodeText(node.pipe)}`}}}`;
    case 'if':
    case 'range':
    case 'with': {
      const otherwise =
        node.otherwise === undefined ? '' : `{{else}}${node.otherwise.map(nodeText).join('')}`;
      return `{{${node.type} ${nodeText(node.pipe)}}}${node.body.map(nodeText).join('')}${otherwise}{{end}}`;
    }
    case 'pipe': {
      const variables =
        node.variables.length > 0 ? `${node.variables.join(', ')} ${node.isAssign ? '=' : ':='} ` : '';
      return `${variables}${node.commands.map(nodeText).join(' | ')}`;
    }
    case 'command':
      return node.args.map(inCommand).join(' ');
    case 'bool':
      return String(node.value);
    case 'dot':
      return '.';
    case 'nil':
      return 'nil';
    case 'number':
      return node.literal.text;
    case 'string':
      return node.quoted;
    case 'identifier':
      return node.name;
    case 'field':
      return node.names.map((name) => `.${name}`).join('');
    case 'variable':
      return node.names.join('.');
    case 'chain':
      return `${inCommand(node.of)}${node.names.map((name) => `.${name}`).join('')}`;
    default:
      return `{{${node.type}}}`;
  }
}

function inCommand(node: Operand): string {
  return node.type === 'pipe' ? `(${nodeText(node)})` : nodeText(node);
}
