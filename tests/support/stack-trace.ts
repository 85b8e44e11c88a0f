/** A line of a stack trace, as Node prints it. */
export const STACK_TRACE_LINE = /^\s+at .+(?::\d+:\d+|<anonymous>|node:internal).*$/m;
