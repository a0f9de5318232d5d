// SPDX-License-Identifier: GPL-3.0-or-later
// Triangulates points that are nearly on lines and circles until it is killed: the exact
// predicates of CGAL use interval arithmetic, which rounds upwards.
#include <CGAL/Delaunay_triangulation_2.h>
#include <CGAL/Exact_predicates_inexact_constructions_kernel.h>
#include <CGAL/Interval_nt.h>
#include <vector>

using Kernel = CGAL::Exact_predicates_inexact_constructions_kernel;

int main()
{
	std::vector<Kernel::Point_2> grid;
	for (int x = 0; x < 150; x++)
		for (int y = 0; y < 150; y++)
			grid.emplace_back(x * 0.1, y * 0.1);
	for (;;) {
		CGAL::Delaunay_triangulation_2<Kernel> triangles(grid.begin(), grid.end());
		if (triangles.number_of_vertices() != grid.size())
			return 1;
		CGAL::Interval_nt<false>::Protector upwards;
		CGAL::Interval_nt<false> sum(0);
		for (int i = 1; i < 3000000; i++)
			sum += CGAL::Interval_nt<false>(1) / CGAL::Interval_nt<false>(i);
		if (sum.inf() > sum.sup())
			return 1;
	}
}
