/** JSON Schemas as rows of Markdown tables. */

export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly not?: JsonSchema;
  readonly minimum?: number;
  readonly maximum?: number;
}

export interface Row {
  /** Path from the root: `queue_configs.<name>.concurrency`. */
  readonly path: string;
  readonly type: string;
  readonly required: boolean;
  readonly default: string;
  readonly description: string;
}

/** Bounds at the edge of what a JSON number holds say nothing. */
const isTold = (bound: number | undefined): bound is number =>
  bound !== undefined && Math.abs(bound) !== Number.MAX_SAFE_INTEGER;

/** Every key of an object schema, nested ones behind their parent. */
export function rowsOf(schema: JsonSchema, prefix = ''): Row[] {
  const rows: Row[] = [];
  for (const object of variants(schema)) {
    for (const [name, property] of Object.entries(object.properties ?? {})) {
      if (property.not !== undefined) continue; // refused in this version
      const path = `${prefix}${name}`;
      rows.push({
        path,
        type: typeOf(property),
        required: object.required?.includes(name) === true && property.default === undefined,
        default: isScalar(property.default) ? code(property.default) : '',
        description: property.description ?? '',
      });
      rows.push(...nested(property, path));
    }
  }
  return merged(rows);
}

/** Alternatives may share keys: one row each, with every type; required only where all require it. */
function merged(rows: readonly Row[]): Row[] {
  const byPath = new Map<string, Row>();
  for (const row of rows) {
    const other = byPath.get(row.path);
    if (other === undefined) byPath.set(row.path, row);
    else
      byPath.set(row.path, {
        ...other,
        type: [...new Set([...other.type.split(' or '), ...row.type.split(' or ')])].join(' or '),
        required: other.required && row.required,
        description: other.description || row.description,
      });
  }
  return [...byPath.values()];
}

/** Without the alternatives of `adapter` that are known and refused: those are not in this version. */
export function withoutAdapters(schema: JsonSchema, isRefused: (adapter: string) => boolean): JsonSchema {
  const keep = (each: JsonSchema): boolean => {
    const name = each.properties?.['name']?.const;
    return typeof name !== 'string' || !isRefused(name);
  };
  const walk = (each: JsonSchema): JsonSchema => ({
    ...each,
    ...(each.anyOf === undefined ? {} : { anyOf: each.anyOf.filter(keep).map(walk) }),
    ...(each.oneOf === undefined ? {} : { oneOf: each.oneOf.filter(keep).map(walk) }),
    ...(each.properties?.['adapter'] === undefined
      ? {}
      : { properties: { ...each.properties, adapter: walk(each.properties['adapter']) } }),
  });
  return walk(schema);
}

function nested(schema: JsonSchema, path: string): Row[] {
  return variants(schema).flatMap((variant) => {
    if (variant.properties !== undefined) return rowsOf(variant, `${path}.`);
    if (variant.items !== undefined) return nested(variant.items, `${path}[]`);
    if (typeof variant.additionalProperties === 'object') return nested(variant.additionalProperties, `${path}.<name>`);
    return [];
  });
}

/** The alternatives of a schema that are not null. */
function variants(schema: JsonSchema): readonly JsonSchema[] {
  const alternatives = schema.anyOf ?? schema.oneOf;
  return alternatives === undefined ? [schema] : alternatives.flatMap(variants).filter(({ type }) => type !== 'null');
}

/** A type in words: `integer 0 to 65535`, `array of string`, `standard or fifo`. */
export function typeOf(schema: JsonSchema): string {
  return [...new Set(variants(schema).map(simpleType))].join(' or ');
}

function simpleType(schema: JsonSchema): string {
  if (schema.const !== undefined) return code(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ');
  if (schema.items !== undefined) return `array of ${typeOf(schema.items)}`;
  if (typeof schema.type === 'object') return schema.type.filter((each) => each !== 'null').join(' or ');
  const { minimum, maximum, type = 'any' } = schema;
  if (isTold(minimum) && isTold(maximum)) return `${type}, ${minimum} to ${maximum}`;
  if (isTold(minimum)) return `${type}, at least ${minimum}`;
  if (isTold(maximum)) return `${type}, at most ${maximum}`;
  return type;
}

function isScalar(value: unknown): boolean {
  return value !== undefined && (typeof value !== 'object' || value === null || Object.keys(value).length === 0);
}

export function code(value: unknown): string {
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

/** A Markdown table; nothing for no rows. Columns without any text are left out. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const kept = head.map((_, i) => i).filter((i) => i === 0 || rows.some((row) => row[i] !== ''));
  const line = (cells: readonly string[]): string =>
    `| ${kept.map((i) => (cells[i] ?? '').replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |\n`;
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}
