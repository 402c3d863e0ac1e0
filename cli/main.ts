#!/usr/bin/env node
import module from 'node:module';

/** The same version as in `engines` of package.json. npm only warns about an older one. */
const OLDEST_NODE = [22, 18] as const;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
  process.stderr.write(`error: Mnemoq needs Node.js ${OLDEST_NODE.join('.')} or newer, this is ${process.version}\n`);
  process.exit(2);
}
// Node keeps the compiled code in the temporary folder of the system, so a command starts in two thirds of the time.
module.enableCompileCache();
const { runProgram } = await import('./program.ts');
await runProgram();
