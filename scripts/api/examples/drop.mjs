import { drop } from 'terge'

const accuracy = { figure: 'accuracy', points: [0.9, 0.7, 1].map((value, index) => ({ t: index / 2, value })) }
console.log(drop(accuracy)?.t, drop(accuracy)?.height.toFixed(3))
