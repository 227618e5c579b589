import { basename } from 'node:path'
import { lock } from 'terge'

// Writes nothing: the text is for the file at the path.
const { path, lock: locked, diagnostics } = await lock('average.yml', { threads: 1 })
console.log(basename(path), diagnostics.length)
for (const [name, { reference, files }] of Object.entries(locked.models)) console.log(name, reference, files.length)
