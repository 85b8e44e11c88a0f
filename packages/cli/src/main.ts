#!/usr/bin/env node
import { createProgram, runProgram } from './program.js';
import { surviveClosedPipes } from './terminal/output.js';

surviveClosedPipes();
process.exitCode = await runProgram(createProgram(), process.argv.slice(2));
