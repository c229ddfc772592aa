import nbformat
p="/root/w18/notebooks/18_verifiable_rewards_and_grpo.ipynb"
nb=nbformat.read(p,4)
def sub(a,b):
    hits=[c for c in nb.cells if c.cell_type=="markdown" and a in c.source]
    assert len(hits)==1,(a,len(hits)); hits[0].source=hits[0].source.replace(a,b)
sub('''- see from the scores alone which groups teach nothing,
- test what a training has changed by controls that cost less than the training,
- find the hole in a verifier by reading what it pays for.
''','''- see from the scores alone which groups teach nothing,
- find out why a training learns from answers that should teach it nothing,
- say which KL penalties have the gradient of the KL.
''')
sub('''- Compare with the greedy answer, a lower temperature, a vote, and tuning on right samples before you praise GRPO.
- What a verifier pays for, a policy will do. Read the texts.
''','''- The answers to one prompt stand together. Test with scores made by hand that silent groups stay silent.
- A penalty in the reward is credited to every token of the answer. In the loss each token pays for itself alone.
''')
sub(" We come back to that.","")
open(p,"w").write(nbformat.writes(nb)+"\n")
