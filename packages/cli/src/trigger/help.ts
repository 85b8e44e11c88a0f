/** `iii trigger --help`, with and without a function. */
import { EngineConnection } from '../client/engine-connection.js';
import { CliError, messageOf } from '../terminal/errors.js';
import { columns, harmless, print, say } from '../terminal/output.js';
import { readFunctionInfo, type FunctionInfo } from './schema.js';
import { CLIENT_NAME, triggerUrl, type TriggerOptions } from './options.js';

/** Longest wait for the description of a function, in milliseconds. */
const INFO_TIMEOUT_MS = 5_000;

export const TRIGGER_OPTIONS: readonly (readonly [string, string])[] = [
  ['--json <JSON>', 'the payload as JSON; `-` reads stdin, `@FILE` reads a file; key=value pairs are laid over it'],
  ['--address <HOST>', 'host of the engine [default: localhost]'],
  ['--port <PORT>', 'worker port of the engine [default: 49134]'],
  ['--timeout-ms <MS>', 'give up after this many milliseconds [default: 30000]'],
  ['-n, --namespace <NS>', 'namespace of the function'],
  ['--print-null', 'print `null` instead of nothing'],
  ['-h, --help', 'show this help; after a function: its description and parameters'],
];

export async function showTriggerHelp(functionId: string | undefined, options: TriggerOptions): Promise<void> {
  if (functionId === undefined) {
    staticHelp();
    return;
  }
  let info: FunctionInfo;
  try {
    info = await fetchInfo(functionId, options);
  } catch (error) {
    if (error instanceof NotRegistered) throw error;
    say(`warning: could not query engine for \`${harmless(functionId)}\`: ${messageOf(error).replace(/^Error: /, '')}`);
    say('Showing static CLI help only.');
    say();
    staticHelp();
    return;
  }
  const lines = [`iii trigger ${harmless(functionId)}`, ''];
  if (info.description !== '') lines.push(info.description, '');
  lines.push(`Usage: iii trigger ${harmless(functionId)} [key=value ...] [--json '<obj>']`, '', 'Parameters:');
  lines.push(...parameterLines(info), '', 'Options:', ...optionLines());
  print(lines.join('\n') + '\n');
}

class NotRegistered extends CliError {
  constructor(functionId: string) {
    super([
      `error: function \`${harmless(functionId)}\` not found in engine registry.`,
      '  hint: run `iii trigger engine::functions::list` to see registered functions.',
    ]);
  }
}

async function fetchInfo(functionId: string, options: TriggerOptions): Promise<FunctionInfo> {
  const connection = await EngineConnection.open(await triggerUrl(options), CLIENT_NAME);
  try {
    const request = JSON.stringify({ function_id: functionId, namespace: options.namespace });
    const answer = await connection.invoke('engine::functions::info', request, { timeoutMs: INFO_TIMEOUT_MS });
    if (answer.ok) return readFunctionInfo(answer.resultJson ?? '{}');
    if (/not_found|not found|not registered/i.test(`${answer.error.code} ${answer.error.message}`))
      throw new NotRegistered(functionId);
    throw new Error(answer.error.message);
  } finally {
    await connection.close();
  }
}

function parameterLines(info: FunctionInfo): string[] {
  if (info.parameters === undefined) return ['  (no request schema published)'];
  const rows = info.parameters.map((p) => [p.name, p.type, p.required ? 'yes' : 'no', p.description]);
  return columns([['name', 'type', 'required', 'description'], ...rows]).map((line) => `  ${line}`);
}

function optionLines(): string[] {
  return [
    ...columns(TRIGGER_OPTIONS).map((line) => `  ${line}`),
    '',
    'Without --address and --port: III_URL, else the worker port of config.yaml here.',
  ];
}

function staticHelp(): void {
  const lines = [
    'iii trigger',
    '',
    'Call a function of a running engine and print its result',
    '',
    'Usage: iii trigger [OPTIONS] [FUNCTION_PATH] [KV]...',
    '',
    'Arguments:',
    ...columns([
      ['FUNCTION_PATH', 'id of the function, e.g. link::create'],
      ['KV', 'key=value (JSON if it reads as JSON, else text); key:=JSON; key=@TEXT is always text'],
    ]).map((line) => `  ${line}`),
    '',
    'Options:',
    ...optionLines(),
    '',
    "Tip: `iii trigger <fn-path> --help` queries a running engine for the function's description and request schema.",
  ];
  print(lines.join('\n') + '\n');
}
