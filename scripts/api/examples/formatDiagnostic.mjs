import { formatDiagnostic, load } from 'terge'

const { diagnostics } = load('average.yml', { set: ['merge.method=lineer'] })
for (const diagnostic of diagnostics) console.log(formatDiagnostic(diagnostic))
