/** What a function says of its input: `engine::functions::info`, read leniently since any worker wrote it. */
import { harmless } from '../terminal/output.js';

export interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly description: string;
}

export interface FunctionInfo {
  readonly description: string;
  /** Undefined when no request schema is published. */
  readonly parameters: readonly Parameter[] | undefined;
  readonly properties: ReadonlyMap<string, unknown>;
}

export function readFunctionInfo(json: string): FunctionInfo {
  const info = asRecord(JSON.parse(json));
  const schema = asRecord(info['request_schema'] ?? info['request_format']);
  const properties = new Map(Object.entries(asRecord(schema['properties'])));
  const required = Array.isArray(schema['required']) ? schema['required'] : [];
  const parameters = [...properties].map(([name, property]) => ({
    name: harmless(name),
    type: typeNames(property).map(harmless).join('|') || 'any',
    required: required.includes(name),
    description: describe(property),
  }));
  return {
    description: describe(info),
    parameters: parameters.length > 0 ? parameters : undefined,
    properties,
  };
}

/** True when the schema takes this text only as a string: `123` for a `type: string` is `"123"`. */
export function takesOnlyText(property: unknown, text: string): boolean {
  const types = typeNames(property);
  if (!types.includes('string')) return false;
  const others = types.filter((type) => type !== 'string');
  return others.length === 0 || (others.every((type) => type === 'null') && text.trim() !== 'null');
}

function describe(value: unknown): string {
  const { description } = asRecord(value);
  return typeof description === 'string' ? harmless(description) : '';
}

function typeNames(property: unknown): string[] {
  const type = asRecord(property)['type'];
  const list: unknown[] = Array.isArray(type) ? type : [type];
  return list.filter((name): name is string => typeof name === 'string');
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
