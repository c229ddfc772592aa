import nbformat, sys, os
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
cells=[]
def md(s): cells.append(new_markdown_cell(s.strip("\n")))
def code(s,*tags,folded=False):
    c=new_code_cell(s.strip("\n"))
    if tags: c.metadata["tags"]=list(tags)
    if folded: c.metadata["jupyter"]={"source_hidden":True}
    cells.append(c)
STORED=os.environ.get("STORED")=="1"
IGN="nbval-ignore-output"
exec(open("/root/l18_cells/cells.py").read())
nb=new_notebook(cells=cells)
nb.metadata={"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"},"language_info":{"name":"python","file_extension":".py","mimetype":"text/x-python"}}
for i,c in enumerate(nb.cells): c.id=f"cell-{i:03d}"
nbformat.write(nb,"/root/w18/notebooks/18_verifiable_rewards_and_grpo.ipynb")
print(len(cells))
