// SPDX-License-Identifier: GPL-3.0-or-later
// Adds intervals with Boost.Interval until it is killed, which alternates rounding up and down.
#include <boost/numeric/interval.hpp>

int main()
{
	using interval = boost::numeric::interval<double>;
	for (;;) {
		interval sum(0.0);
		for (int i = 1; i < 1000000; i++)
			sum += interval(1.0) / interval(double(i));
		if (sum.lower() > sum.upper())
			return 1;
	}
}
