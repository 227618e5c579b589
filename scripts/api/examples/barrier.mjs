import { barrier } from 'terge'

const loss = { figure: 'loss', points: [0.1, 0.9, 0.3].map((value, index) => ({ t: index / 2, value })) }
console.log(barrier(loss)?.t, barrier(loss)?.height.toFixed(3))
