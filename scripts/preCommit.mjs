#!/usr/bin/env node
// The hook for pre-commit: checks the texts of the recipes that are committed. pre-commit clones this repository and does not build it,
// so the hook installs the package of the same version from the registry, once, into its clone.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { installed } from './action/program.mjs'

const folder = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), '.terge-hook')
const words = ['validate', ...process.argv.slice(2)]
const { status, error } = spawnSync(process.execPath, [installed(folder), ...words], { stdio: 'inherit' })
if (error) throw error
process.exitCode = status ?? 1
